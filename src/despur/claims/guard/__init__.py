"""Claims of the methods of `despur.guard`."""
