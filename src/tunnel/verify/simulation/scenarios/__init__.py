"""Scenarios: a network, actions and expectations; from files, and drawn at random."""
