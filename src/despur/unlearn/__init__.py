"""What a finished model knows of some rows, taken out by a short training run; an adapter comes out."""

from despur.unlearn.recall import Recall, recall
from despur.unlearn.suv import suv

__all__ = ["Recall", "recall", "suv"]
