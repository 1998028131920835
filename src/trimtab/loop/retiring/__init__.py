"""An endpoint's way out."""
