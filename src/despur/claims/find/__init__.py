"""Claims of the methods of `despur.find`."""
