"""See it happen."""
