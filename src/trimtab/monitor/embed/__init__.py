"""`trimtab.Monitor` inside somebody else's server."""
