"""Figures and factors in a notebook: short, escaped, and as a frame."""

import torch

from despur.core import Report, Subspace


def test_a_report_shows_itself():
    report = Report("<drift>", 0.1, 0.05, 0.2, 64, spec={"long": "x" * 1000})
    assert len(repr(report)) < 100
    assert "&lt;drift&gt;" in report._repr_html_()
    assert "control" not in report._repr_html_(), "what was not measured is not shown as nan"
    assert report.to_frame().loc[0, "value"] == 0.1


def test_a_factor_shows_itself():
    factor = Subspace.orthonormal(torch.eye(8)[:2], note="<script>", text="y" * 1000)
    assert repr(factor) == "<Subspace: 2 directions of width 8 at * (out)>"
    assert "<script>" not in factor._repr_html_()
    assert len(factor._repr_html_()) < 1000
    assert factor.to_frame().loc[0, "directions"] == 2
