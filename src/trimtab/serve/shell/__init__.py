"""HTTP as bytes, and the short ways through it."""
