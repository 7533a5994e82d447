"""Scenarios: who does what when, and what must hold; as files, and drawn at random."""
