"""The operating system behind each port of the network: the one place that knows sockets, devices and netlink."""
