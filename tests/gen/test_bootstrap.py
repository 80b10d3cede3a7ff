"""Confidence intervals by bootstrap."""

import numpy as np
import pytest

from gen.evaluate.bootstrap import interval, mean_of


def test_interval_contains_the_value_and_narrows_with_rows():
    rng = np.random.default_rng(0)
    few, many = (mean_of(rng.standard_normal(n)) for n in (20, 2000))
    assert few.low < few.value < few.high and many.high - many.low < 0.2 * (few.high - few.low)
    assert many.high - many.low == pytest.approx(2 * 1.96 / 2000**0.5, rel=0.15)


def test_groups_are_resampled_whole():
    values, groups = np.repeat([0.0, 1.0, 0.0, 1.0], 50), np.repeat(np.arange(4), 50)
    by_group = mean_of(values, groups)
    assert by_group.low == 0 and by_group.high == 1
    assert mean_of(values).low > 0.4


def test_one_row_has_no_width():
    assert mean_of([3]) == (3, 3, 3)


def test_rows_of_several_arrays_are_resampled_together():
    x = np.arange(30.0)
    assert interval(lambda a, b: float(np.abs(a - b).max()), x, x) == (0, 0, 0)
