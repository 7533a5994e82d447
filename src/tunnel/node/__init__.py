"""The node program: link to the server, NAT discovery, announcement, peers, addresses and control socket."""
