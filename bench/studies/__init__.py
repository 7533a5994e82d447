"""What many runs tell: every pair of NATs, whole populations, and the oracle beside them."""
