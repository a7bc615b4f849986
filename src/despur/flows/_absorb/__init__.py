"""`despur absorb`: a base that has what all answers share in its weights, to be trained on without any callback."""
