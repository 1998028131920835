"""The demo: the whole loop, through public names only."""
