"""What the tunnel carries: the TUN plane, and the guard against loops."""
