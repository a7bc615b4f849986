"""Neutral tunes of one base and recipe: what an audit that nobody calibrated judges by."""
