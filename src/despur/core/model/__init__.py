"""What is done with a live model: hooks, activations, roles of its maps, its fingerprint."""
