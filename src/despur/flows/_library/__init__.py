"""Factors saved by name."""
