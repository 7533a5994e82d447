"""The virtual internet: what a network looks like, and the routers, lines and hosts that are built from it."""
