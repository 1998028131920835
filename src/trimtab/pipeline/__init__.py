"""Steps, flows, fingerprints, cache, plan, driver and executors."""
