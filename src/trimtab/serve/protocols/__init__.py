"""What clients send and want back: the contracts, their bodies and formats."""
