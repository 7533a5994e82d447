"""Keys, proofs, handshakes and seals, without I/O: all randomness is passed in as bytes."""
