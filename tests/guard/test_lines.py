"""Lines that come in parts, in memory or in a file, are the same lines."""

import torch

from despur.guard import _lines
from despur.guard._lines import joined_lines


def test_parts_in_any_order_in_memory_and_in_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    places = [torch.tensor([3, 1]), torch.tensor([0, 2, 4])]
    lines = [{"x": torch.arange(len(p) * 2.0).view(-1, 2) + 10 * i, "n": p.int()} for i, p in enumerate(places)]
    made = []
    for limit in (_lines.IN_MEMORY, 8):
        monkeypatch.setattr(_lines, "IN_MEMORY", limit)
        made.append(joined_lines(places, lines, 5))
    inside, outside = made
    assert inside["n"].tolist() == [0, 1, 2, 3, 4]
    assert inside["x"][3].tolist() == [0, 1]
    for name in inside:
        assert torch.equal(inside[name], outside[name])
        assert inside[name].dtype == outside[name].dtype
    assert not list(tmp_path.iterdir()), "the file goes with its tensors"
