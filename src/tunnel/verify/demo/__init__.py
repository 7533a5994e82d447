"""The demo: a server and two nodes in processes of their own, what they are told to do, and what must come of it."""
