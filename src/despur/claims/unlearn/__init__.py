"""Claims of the methods of `despur.unlearn`."""
