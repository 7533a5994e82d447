"""`python -m tunnel` is the command p2ptunnel-trio."""

from tunnel.cli import main

main()
