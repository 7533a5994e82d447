"""Bytes <-> values, without I/O, clocks or keys. Every `decode_*` raises MalformedFrame and nothing else."""
