"""Punching where a NAT gives each destination another port: which ports are tried, by whom, how fast."""
