"""One peer connection: introduction, session, probes, paths. It knows one peer, never the table of all."""
