"""The lending project of the demo, as a user would write it: first biased, then corrected."""
