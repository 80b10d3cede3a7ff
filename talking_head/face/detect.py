"""Face detection with BlazeFace (Bazarevsky et al. 2019), the short-range model."""

from typing import NamedTuple

import numpy as np
import torch

from talking_head.face.graph import Graph

SIZE = 128
CERTAIN = 0.5
OVERLAP = 0.3


class Box(NamedTuple):
    """A face in pixels: centre, width and height, eye points ((2, 2): the picture's left one first), score."""

    centre: np.ndarray
    size: np.ndarray
    eyes: np.ndarray
    score: float


def anchors() -> np.ndarray:
    """(896, 2) centres in [0, 1]: two a cell on the 16 x 16 grid, six on the 8 x 8 one."""
    rows = []
    for cells, count in ((16, 2), (8, 6)):
        y, x = np.divmod(np.arange(cells * cells), cells)
        rows.append(np.repeat(np.stack((x, y), 1) + 0.5, count, 0) / cells)
    return np.concatenate(rows).astype(np.float32)


def detect(network: Graph, pixels: np.ndarray) -> list[Box]:
    """Faces in pixels (h, w, 3) uint8, largest first; small faces are also searched in overlapping tiles."""
    h, w = pixels.shape[:2]
    found = _in_square(network, pixels, 0.0, 0.0, float(max(h, w)))
    for share in (1.0, 0.5, 0.3):
        if found:
            break
        side = max(min(h, w) * share, SIZE)
        for y in _starts(h, side):
            for x in _starts(w, side):
                found += _in_square(network, pixels, x, y, side)
    return sorted(_apart(found), key=lambda box: -box.size.prod())


def _starts(length: int, side: float) -> np.ndarray:
    count = int(np.ceil(max(length - side, 0) / (side / 2))) + 1
    return np.linspace(0, max(length - side, 0), count)


def _in_square(network: Graph, pixels: np.ndarray, left: float, top: float, side: float) -> list[Box]:
    from talking_head.face.crop import cut

    centre = np.array([left + side / 2, top + side / 2])
    view = cut(pixels, centre, side, 0.0, SIZE)
    boxes, scores = network(view[None] * 2 - 1)
    scores = torch.sigmoid(scores[0, :, 0].clamp(-100, 100)).numpy()
    keep = scores > CERTAIN
    values = boxes[0].numpy()[keep].reshape(-1, 8, 2) / SIZE
    values[:, [0, 2, 3, 4, 5, 6, 7]] += anchors()[keep][:, None]
    values[:, [0, 2, 3, 4, 5, 6, 7]] *= side
    values[:, 1] *= side
    values[:, [0, 2, 3, 4, 5, 6, 7]] += (left, top)
    return [Box(v[0], v[1], v[2:4], float(s)) for v, s in zip(values, scores[keep])]


def _apart(boxes: list[Box]) -> list[Box]:
    """One box per face: the score-weighted mean of overlapping boxes."""
    boxes, kept = sorted(boxes, key=lambda box: -box.score), []
    while boxes:
        near = [box for box in boxes if _overlap(boxes[0], box) > OVERLAP]
        weight = np.array([box.score for box in near])
        mean = [np.average(np.stack([box[i] for box in near]), 0, weight) for i in range(3)]
        kept.append(Box(*mean, boxes[0].score))
        boxes = [box for box in boxes if _overlap(boxes[0], box) <= OVERLAP]
    return kept


def _overlap(a: Box, b: Box) -> float:
    low = np.maximum(a.centre - a.size / 2, b.centre - b.size / 2)
    high = np.minimum(a.centre + a.size / 2, b.centre + b.size / 2)
    common = np.clip(high - low, 0, None).prod()
    return float(common / (a.size.prod() + b.size.prod() - common))
