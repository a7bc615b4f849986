"""Rows of text: read, tokenized, sampled."""
