"""PEFT adapters and whole fine-tunes: read, checked against their base, as low-rank updates."""
