"""Labels beside their marks, without overlap."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RINGS = (9, 13, 19, 28, 40, 56, 76, 100, 130, 165, 205)  # distances tried
WAYS = (0, 15, 1, 14, 2, 8, 7, 9, 12, 4, 13, 3, 6, 10, 11, 5)  # directions tried in sixteenths of a turn, best first
LEADER = 22.0  # from this distance on a line leads to the mark
STEPS = np.linspace(0.15, 1, 12)  # positions along a leader that are checked for what lies under it


class Box(NamedTuple):
    """A rectangle; y runs downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Point of the rectangle that is nearest to another."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def is_far(self, mark: tuple[float, float]) -> bool:
        """Whether it needs a line to its mark."""
        return math.dist(self.nearest(*mark), mark) >= LEADER


def around(x: float, y: float, reach: float) -> Box:
    """Square about a point."""
    return Box(x - reach, y - reach, x + reach, y + reach)


def place(
    marks: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], *, area: Box,
    keep_off: Sequence[Box], avoid: Sequence[Box],
) -> list[Box | None]:  # fmt: skip
    """Find a place for each label, crowded marks first.

    Args:
        marks: Where the marks are.
        sizes: Width and height of their labels.
        area: What all labels must lie in.
        keep_off: What no label may touch, the marks for instance.
        avoid: What labels had better not touch, whiskers for instance.

    Returns:
        A box per label; None where there was no room left.
    """
    found: list[Box | None] = [None] * len(marks)
    marked, avoided, labels, leaders = _rows(keep_off), _rows(avoid), _rows([]), _rows([])
    crowd = [sum(math.dist(a, b) < 60 for b in marks) for a in marks]
    for i in sorted(range(len(marks)), key=lambda i: (-crowd[i], marks[i])):
        boxes, cost = _candidates(marks[i], sizes[i], area)
        outside = (boxes[:, :2] < area[:2]).any(1) | (boxes[:, 2:] > area[2:]).any(1)
        lines = _leaders(marks[i], boxes)  # (candidates, steps, 4)
        cost = cost + 9 * _hits(boxes, avoided).sum(1) + 12 * _hits(boxes, leaders).sum(1)
        far = np.hypot(*(lines[:, -1, :2] + 1.5 - marks[i]).T) >= LEADER
        crossed = _hits(lines.reshape(-1, 4), labels).reshape(len(boxes), len(STEPS), -1).any(1)
        cost += 40 * far * crossed.sum(1)
        cost[outside | _hits(boxes, marked).any(1) | _hits(boxes, labels).any(1)] = np.inf
        best = int(cost.argmin())
        if np.isfinite(cost[best]):
            found[i] = Box(*map(float, boxes[best]))
            labels = np.vstack([labels, boxes[best]])
            leaders = np.vstack([leaders, lines[best]]) if far[best] else leaders
    return found


def _rows(boxes: Sequence[Box]) -> np.ndarray:
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _candidates(mark: tuple[float, float], size: tuple[float, float], area: Box) -> tuple[np.ndarray, np.ndarray]:
    """Boxes whose nearest edge is one of the distances away in one of the directions, then anywhere; and their cost."""
    angle = np.tile(np.array(WAYS) * math.pi / 8, len(RINGS))
    distance = np.repeat(np.array(RINGS, dtype=float), len(WAYS))
    way = np.stack([np.cos(angle), np.sin(angle)], 1).round(9)
    side = np.stack([np.sign(way[:, 0]), way[:, 1] / np.abs(way).max(1)], 1)
    corner = np.array(mark) + way * distance[:, None] + np.array(size) * (side - 1) / 2
    cost = distance + np.tile(np.arange(len(WAYS)) / 2, len(RINGS))
    x, y = np.meshgrid(
        np.arange(area.left, area.right - size[0], 15), np.arange(area.top, area.bottom - size[1], size[1])
    )
    anywhere = np.stack([x.ravel(), y.ravel()], 1)
    away = np.hypot(*(anywhere + np.array(size) / 2 - mark).T)
    corner, cost = np.vstack([corner, anywhere]), np.append(cost, RINGS[-1] + away)
    return np.hstack([corner, corner + np.array(size)]), cost


def _leaders(mark: tuple[float, float], boxes: np.ndarray) -> np.ndarray:
    """The line from a mark to each box, as small squares."""
    ends = np.clip(np.array(mark), boxes[:, :2], boxes[:, 2:])
    points = np.array(mark) + (ends - np.array(mark))[:, None] * STEPS[:, None]
    return np.concatenate([points - 1.5, points + 1.5], 2)


def _hits(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which share any area, (boxes, others)."""
    a, b = boxes[:, None], others[None]
    return np.all((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:]), axis=2)
