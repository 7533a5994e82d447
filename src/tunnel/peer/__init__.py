"""One peer connection: introduction, session, probing, paths. Knows one peer, never the directory of all."""
