"""Weights with weights: cheap edits of a finished adapter, no training; what they give loads in plain PEFT."""

from despur.merge.after import save_adapter, scale, subtract_weights, truncate
from despur.merge.safe_lora import safe_lora
from despur.merge.spectral_surgery import spectral_surgery

__all__ = ["safe_lora", "save_adapter", "scale", "spectral_surgery", "subtract_weights", "truncate"]
