"""Tests, intervals and effect sizes, from counts alone."""
