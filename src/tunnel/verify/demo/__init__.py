"""The demo: a server and two nodes as processes of their own, told what to do, and what people see of it."""
