"""Claims of the methods of `despur.measure`."""
