"""Contract suites: the requirements of every method of the catalogue, as checks that a plugin's tests run in three lines."""

from despur.testing.acting import acting_input
from despur.testing.check import Check, checks
from despur.testing.tiny import TinyMaterials, tiny_base, tiny_tuned

__all__ = ["Check", "TinyMaterials", "acting_input", "checks", "tiny_base", "tiny_tuned"]
