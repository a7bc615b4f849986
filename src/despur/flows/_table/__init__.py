"""The figures that runs leave behind, as one tidy table."""
