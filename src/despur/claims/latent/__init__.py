"""Claims of the methods of `despur.latent`."""
