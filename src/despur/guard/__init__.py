"""Do not learn it: edits that are attached while fine-tuning."""

from despur.guard._avert import avert
from despur.guard._grasp import grasp, project_gradient
from despur.guard._hold import hold
from despur.guard._own_text import OwnText
from despur.guard._rehearse import rehearse

__all__ = ["OwnText", "avert", "grasp", "hold", "project_gradient", "rehearse"]
