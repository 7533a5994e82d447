"""The operating system behind the ports of network/ports.py: the one place that knows sockets, devices and netlink."""
