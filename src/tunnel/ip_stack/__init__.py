"""An IP stack in Python, without I/O: what a node uses where it can have no TUN interface, and the simulation."""
