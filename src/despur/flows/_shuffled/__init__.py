"""What a shuffled scout explains of the data, and the folder in which it stays at hand."""
