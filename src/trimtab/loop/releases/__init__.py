"""What answers at an endpoint: releases, rollouts, A/B tests, drills."""
