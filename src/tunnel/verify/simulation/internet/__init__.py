"""The virtual internet: routers, NATs, gateways and access lines, built from a topology."""
