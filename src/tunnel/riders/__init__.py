"""What rides the tunnel: the TUN plane."""
