"""One run: the programs on their machines, what is done, what is seen, what is judged."""
