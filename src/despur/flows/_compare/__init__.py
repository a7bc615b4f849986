"""Every guard and every control on the same work."""
