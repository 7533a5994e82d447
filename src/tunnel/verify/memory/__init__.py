"""An internet in memory: what programs see of the world in tests and simulations, in Trio's time."""
