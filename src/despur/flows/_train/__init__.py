"""Scout, find, guarded run, measure."""
