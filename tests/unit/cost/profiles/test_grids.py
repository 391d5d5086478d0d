"""Grids: interpolation that is exact where time is affine, and filling in."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.cost.graphs import capture_sizes, padded
from servetwin.cost.profiles.gemms import GemmTimings, predicted
from servetwin.cost.profiles.grids import continued, doubling, interpolated, thinned
from servetwin.cost.profiles.skew import contexts_of


def test_interpolation_is_exact_for_affine_times_and_beyond_their_end() -> None:
    axes = (np.array([1.0, 2.0, 8.0]), np.array([0.0, 10.0]))
    grid = 3.0 + 2.0 * axes[0][:, None] + 5.0 * axes[1][None, :] * axes[0][:, None]
    x, y = np.array([1.5, 7.0, 20.0]), np.array([4.0, 10.0, 30.0])
    np.testing.assert_allclose(interpolated(axes, grid, (x, y)), 3.0 + 2.0 * x + 5.0 * x * y)
    below = interpolated(axes, grid, (np.array([0.2]), np.array([0.0])))
    assert below[0] == grid[0, 0]


def test_of_two_grids_the_doubling_one() -> None:
    values = np.array([16.0, 24, 0, 32, 36, 64, 16])
    assert doubling(values).tolist() == [0, 16, 32, 64]


def test_short_rows_go_on_with_their_slope() -> None:
    columns = np.array([0.0, 10, 20, 30, 40])
    rows = np.array([1.0, 2.0])
    whole = 7.0 + rows[:, None] * columns[None, :]
    holes = whole.copy()
    holes[0, 4:] = np.nan
    holes[1, 1:] = np.nan
    np.testing.assert_allclose(continued(holes, rows, columns), whole)
    holes[1, 0] = np.nan
    with pytest.raises(ValueError, match="beside 2"):
        continued(holes, rows, columns)


def test_thinning_keeps_both_ends() -> None:
    axis = np.arange(1.0, 130.0)
    kept = axis[thinned(axis, 2.0)]
    assert kept.tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 129]


def test_sizes_of_cuda_graphs() -> None:
    assert capture_sizes(4).tolist() == [1, 2, 4]
    sizes = capture_sizes(512)
    assert sizes[-1] == 512
    assert padded(np.array([3.0, 9, 257, 512, 600]), sizes).tolist() == [4, 16, 272, 512, 600]
    assert capture_sizes(600)[-1] == 592
    none = capture_sizes(0)
    assert padded(np.array([3.0, 600]), none).tolist() == [3, 600]


def test_a_matrix_nobody_timed() -> None:
    """Where the ratio to the roofline is a power law, it is met between the shapes."""

    def roofline(rows: np.ndarray, n: np.ndarray, k: np.ndarray) -> np.ndarray:
        return 1e-12 * rows * n * k

    rows, n, k = (
        column.ravel()
        for column in np.meshgrid(
            2.0 ** np.arange(8), 2.0 ** np.arange(10, 15), 2.0 ** np.arange(10, 15)
        )
    )
    timings = GemmTimings(rows, n, k, 3.0 * roofline(rows, n, k) * n**0.1)
    wanted = GemmTimings(*(np.array([x]) for x in (24.0, 3000.0, 5000.0, 1.0)))
    found = predicted(timings, wanted, roofline)
    expected = 3.0 * roofline(wanted.rows, wanted.n, wanted.k) * 3000.0**0.1
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_contexts_of_a_workload() -> None:
    alike = contexts_of(np.full(5, 1000), np.full(5, 1))
    assert alike.mean == pytest.approx(1000, rel=1e-3)
    mixed = contexts_of(np.array([0, 1000]), np.array([100, 100]))
    assert mixed.mean == pytest.approx(550, rel=0.01)
    one, many = mixed.longest_of(np.array([1, 100]))
    assert one == pytest.approx(mixed.mean)
    assert many == pytest.approx(1095, rel=0.01)
