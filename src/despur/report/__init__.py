"""What was found and measured, as one HTML file that loads nothing and runs nothing."""

from despur.report._blocks import Bars, Block, Curves, Frontier, Point, Samples, Table, Text, Verdict
from despur.report._page import write_page

__all__ = [
    "Bars", "Block", "Curves", "Frontier", "Point", "Samples", "Table", "Text", "Verdict", "write_page",
]  # fmt: skip
