"""What was found and measured, as one HTML file that loads nothing and runs nothing."""

from despur.report.blocks import Bars, Curves, Dialogue, Frontier, Heat, Point, Samples, Table, Text, Verdict
from despur.report.page import write_page
from despur.report.study import Attainment, Band, Block, Claim, Claims, League, Panel, Panels, Standing

__all__ = [
    "Attainment", "Band", "Bars", "Block", "Claim", "Claims", "Curves", "Dialogue", "Frontier", "Heat", "League", "Panel", "Panels",
    "Point", "Samples", "Standing", "Table", "Text", "Verdict", "write_page",
]  # fmt: skip
