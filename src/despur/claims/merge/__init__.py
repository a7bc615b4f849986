"""Claims of the methods of `despur.merge`."""
