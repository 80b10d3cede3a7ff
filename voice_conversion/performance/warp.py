"""Dynamic time warping between two stretches of speech that may say different things.

n frames of the one, m of the other, K others at once, d numbers a frame.
"""

import numpy as np

from voice_conversion.performance.phrase import smooth

WINDOW = 0.25  # how far from the diagonal, as a share of the length
HOLD = 0.5  # cost, in mean distances, of standing still or of going twice as fast for a frame


def resampled(x: np.ndarray, count: int) -> np.ndarray:
    """(m, ...) -> (count, ...) evenly spaced from the first to the last, linearly."""
    return sampled(x, np.linspace(0, len(x) - 1, count))


def sampled(x: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(m, ...) at places ``at`` (n,) from 0 to m - 1 -> (n, ...), linearly."""
    low = np.minimum(at.astype(int), max(len(x) - 2, 0))
    share = (at - low).reshape(-1, *[1] * (x.ndim - 1))
    return x[low] * (1 - share) + x[np.minimum(low + 1, len(x) - 1)] * share


def align(own: np.ndarray, others: list[np.ndarray], width: float = 3.0, hold: float = HOLD) -> np.ndarray:
    """Frames (n, d) and K others (m, d) -> (K, n): for each own frame the place in the other, 0 to 1, never falling.

    In a frame the other goes by none to three n-ths of its length; every n-th off one costs ``hold`` mean distances.
    The way is within WINDOW of the straight line, and smoothed over ``width`` frames.
    """
    n, k = len(own), len(others)
    scaled = np.stack([resampled(other, n) for other in others])
    square = (own**2).sum(1)[:, None] + (scaled**2).sum(2)[:, None] - 2 * own @ scaled.transpose(0, 2, 1)
    cost = np.sqrt(np.maximum(square, 0))
    cost /= cost.mean((1, 2), keepdims=True)
    apart = np.abs(np.arange(n)[:, None] - np.arange(n)) > max(WINDOW * n, 3)
    cost = np.where(apart, 1e6, cost)
    total = np.full((k, n + 3), 1e9)  # three columns before the first
    total[:, 3] = cost[:, 0, 0]
    came = np.zeros((n, k, n), np.int8)
    for i in range(1, n):
        ways = np.stack([total[:, 3 - step : n + 3 - step] + hold * abs(step - 1) for step in range(4)])
        came[i] = ways.argmin(0)
        total[:, 3:] = np.take_along_axis(ways, came[i][None].astype(int), 0)[0] + cost[:, i]
    at, rows, path = np.full(k, n - 1), np.arange(k), np.zeros((k, n))
    for i in range(n - 1, -1, -1):
        path[:, i] = at
        at = np.maximum(at - came[i, rows, at], 0)
    path = smooth(path.T, width).T if width else path
    return np.clip(np.maximum.accumulate(path, 1) / max(n - 1, 1), 0, 1)
