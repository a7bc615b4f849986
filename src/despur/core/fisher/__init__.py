"""Fisher information: of any small model row by row (`rows`), of a language model's linear maps (`text`), in three forms (`forms`)."""
