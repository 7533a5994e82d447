"""Real kernel NATs in network namespaces, for tests, bench and `demo --netns`. Linux and root only."""
