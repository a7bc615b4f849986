"""Claims of the methods of `despur.steer`."""
