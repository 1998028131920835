"""Model server, contracts, router and prediction log."""
