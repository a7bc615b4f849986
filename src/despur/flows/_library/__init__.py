"""Factors kept by name."""
