"""The way of a packet between the riders and the sockets: batches in, batches out, no I/O."""
