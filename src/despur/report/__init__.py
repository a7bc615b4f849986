"""What was found and measured, as one HTML file that loads nothing and runs nothing."""

from despur.report.blocks import (
    MISSING,
    Bars,
    Curves,
    Dialogue,
    Frontier,
    Heat,
    Omitted,
    Point,
    Samples,
    Table,
    Text,
    Verdict,
)  # fmt: skip
from despur.report.page import Page, write_page
from despur.report.study import Attainment, Band, Block, Claim, Claims, League, Panel, Panels, Standing

__all__ = [
    "MISSING", "Attainment", "Band", "Bars", "Block", "Claim", "Claims", "Curves", "Dialogue", "Frontier", "Heat", "League", "Omitted",
    "Page", "Panel", "Panels", "Point", "Samples", "Standing", "Table", "Text", "Verdict", "write_page",
]  # fmt: skip
