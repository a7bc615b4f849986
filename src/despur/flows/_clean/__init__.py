"""Confirmed factors projected out of a finished adapter."""
