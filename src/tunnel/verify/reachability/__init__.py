"""What a network looks like, how its NATs behave, and which of its hosts can have a direct path. Nothing here runs."""
