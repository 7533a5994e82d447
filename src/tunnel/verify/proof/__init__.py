"""The proof: the charts composed, every reachable state visited, every transition broken once to see the proof fail."""
