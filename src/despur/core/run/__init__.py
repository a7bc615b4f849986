"""A training run as five points, and what launchers put round it."""
