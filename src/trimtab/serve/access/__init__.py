"""Who may ask, how much, and who asked."""
