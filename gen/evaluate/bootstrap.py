"""95 % confidence intervals by the percentile bootstrap (Efron and Tibshirani, 1993, ch. 13)."""

from collections.abc import Callable

import numpy as np

from gen.evaluate.report import Estimate

DRAWS = 1000


def interval(
    measure: Callable[..., float],
    *arrays: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """``measure(*arrays)`` and its interval.

    The rows (n, ...) of the arrays are resampled together; with ``groups`` (n,), such as people or songs, whole groups
    are resampled.
    """
    arrays = tuple(np.asarray(array) for array in arrays)
    names, group = np.unique(np.arange(len(arrays[0])) if groups is None else groups, return_inverse=True)
    rows = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    values = [measure(*(array[at] for array in arrays)) for at in (np.concatenate([rows[i] for i in d]) for d in drawn)]
    value, (low, high) = float(measure(*arrays)), np.nanquantile(values, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value))


def mean_of(values, groups: np.ndarray | None = None) -> Estimate:
    """The mean of values (n,) and its interval."""
    return interval(np.mean, np.asarray(values, float), groups=groups)
