"""Names beside their marks, none upon another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

RINGS = (9.0, 13.0, 19.0, 28.0, 40.0, 56.0, 76.0, 100.0, 130.0, 165.0, 205.0)  # distances tried, nearest first
WAYS = [(math.cos(a), math.sin(a)) for a in (i * math.pi / 8 for i in (0, 15, 1, 14, 2, 8, 7, 9, 12, 4, 13, 3, 6, 10, 11, 5))]
LEADER = 22.0  # from this distance on a line leads to the mark


@dataclass(frozen=True)
class Box:
    """A rectangle; y runs downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: "Box") -> bool:
        """Whether the two share any area."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside."""
        inside = self.left <= other.left and other.right <= self.right
        return inside and self.top <= other.top and other.bottom <= self.bottom

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Point of the rectangle that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)


def around(x: float, y: float, reach: float) -> Box:
    """Square about a point."""
    return Box(x - reach, y - reach, x + reach, y + reach)


def place(
    marks: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], *, area: Box,
    keep_off: Sequence[Box] = (), avoid: Sequence[Box] = (),
) -> list[Box | None]:  # fmt: skip
    """Find a place for each label, crowded marks first.

    Args:
        marks: Where the marks are.
        sizes: Width and height of their labels.
        area: What all labels must lie in.
        keep_off: What no label may touch, the marks for instance.
        avoid: What labels had better not touch, whiskers for instance.

    Returns:
        A box a label; None where there was no room left.
    """
    found: list[Box | None] = [None] * len(marks)
    crowd = [sum(math.dist(a, b) < 60 for b in marks) for a in marks]
    leaders: list[Box] = []
    for i in sorted(range(len(marks)), key=lambda i: (-crowd[i], marks[i])):
        taken = [*keep_off, *(box for box in found if box)]
        best, least = None, math.inf
        for distance in RINGS:
            if distance >= least:
                break
            for rank, (dx, dy) in enumerate(WAYS):
                box = _beside(*marks[i], *sizes[i], dx * distance, dy * distance)
                if not area.holds(box) or any(box.hits(other) for other in taken):
                    continue
                cost = distance + rank / 2 + 9 * sum(box.hits(other) for other in avoid)
                cost += 25 * sum(box.hits(other) for other in leaders)
                if distance >= LEADER:
                    cost += 25 * sum(step.hits(other) for step in _line(marks[i], box) for other in taken)
                if cost < least:
                    best, least = box, cost
        found[i] = best
        if best and math.dist(best.nearest(*marks[i]), marks[i]) >= LEADER:
            leaders += _line(marks[i], best)
    return found


def _beside(x: float, y: float, width: float, height: float, dx: float, dy: float) -> Box:
    """Set a box so that its nearest edge is (dx, dy) away from the mark."""
    left = x + dx - width * (0.5 - 0.5 * _sign(dx))
    top = y + dy - height * (0.5 - 0.5 * (dy / max(abs(dx), abs(dy))))
    return Box(left, top, left + width, top + height)


def _sign(value: float) -> int:
    return 0 if abs(value) < 1e-6 else 1 if value > 0 else -1


def _line(mark: tuple[float, float], box: Box) -> list[Box]:
    """A leader as small squares, from a little off the mark."""
    (x, y), (u, v) = mark, box.nearest(*mark)
    steps = max(2, int(math.dist((x, y), (u, v)) / 6))
    return [around(x + (u - x) * s / steps, y + (v - y) * s / steps, 1.5) for s in range(2, steps)]
