"""A training run as five points, and what launchers put around it."""
