"""Keys, proofs, handshakes and seals, without I/O: all randomness comes in as bytes."""
