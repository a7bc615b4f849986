"""Weights with weights: cheap edits of a finished adapter, no training; what they give loads in plain PEFT."""

from despur.core.adapter.save import save_adapter
from despur.merge.safe_lora import safe_lora
from despur.merge.scale import scale
from despur.merge.spectral_surgery import spectral_surgery
from despur.merge.subtract_weights import subtract_weights
from despur.merge.truncate import truncate

__all__ = ["safe_lora", "save_adapter", "scale", "spectral_surgery", "subtract_weights", "truncate"]
