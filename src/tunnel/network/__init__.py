"""The ports to the world outside the process (ports.py), the operating system behind them (os/), and links."""
