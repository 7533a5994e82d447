"""The server program: rendezvous, introductions, relay, STUN, registry, HTTP."""
