"""Scattered rows -> full grids, and what grids hold between and beyond their points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["continued", "doubling", "fill_grid", "interpolated", "thinned"]

Floats = NDArray[np.float64]


def doubling(values: Floats) -> Floats:
    """The distinct values that are 0 or a power of two.

    Profilers write more than one grid into a file, each incomplete beside the other; the one
    that doubles is the one that every file has.
    """
    distinct = np.unique(values).astype(np.int64)
    return np.asarray(distinct[(distinct & (distinct - 1)) == 0], dtype=np.float64)


def fill_grid(axes: Sequence[Floats], points: Sequence[Floats], values: Floats) -> Floats:
    """Place `values` at `points` on the grid of `axes`; NaN where there is none.

    Points off the grid are left out. Of points that appear twice the last one stays.
    """
    grid = np.full([axis.size for axis in axes], np.nan)
    places, on_grid = [], np.ones(values.size, dtype=np.bool_)
    for axis, column in zip(axes, points, strict=True):
        place = np.minimum(np.searchsorted(axis, column), axis.size - 1)
        on_grid &= axis[place] == column
        places.append(place)
    grid[tuple(place[on_grid] for place in places)] = values[on_grid]
    return grid


def interpolated(axes: Sequence[Floats], grid: Floats, points: Sequence[Floats]) -> Floats:
    """Values at `points`, affine between the points of the grid and beyond its end.

    Below the first point of an axis its value holds. All of `points` broadcast together.
    """
    columns = np.broadcast_arrays(*points)
    values = grid
    cells, shares = [], []
    for axis, column in zip(axes, columns, strict=True):
        low = np.clip(np.searchsorted(axis, column, side="right") - 1, 0, axis.size - 2)
        cells.append(low)
        shares.append(np.maximum((column - axis[low]) / (axis[low + 1] - axis[low]), 0.0))
    total = np.zeros(columns[0].shape)
    for corner in np.ndindex(*[2] * len(axes)):
        weight = np.ones(columns[0].shape)
        for bit, share in zip(corner, shares, strict=True):
            weight = weight * (share if bit else 1.0 - share)
        total += weight * values[tuple(cell + bit for cell, bit in zip(cells, corner, strict=True))]
    return total


def continued(grid: Floats, rows: Floats, columns: Floats) -> Floats:
    """Fill in the ends of rows that were not timed up to the last column.

    A row goes on with the slope of its second half; one too short to have any, with that of
    the row before it, in proportion to the values of `rows`. Raises ValueError where a value
    is missing in front of a row, or within.
    """
    filled = grid.copy()
    slope = 0.0
    for row, value in enumerate(rows):
        count = int(np.count_nonzero(~np.isnan(grid[row])))
        if count == 0 or np.isnan(grid[row, :count]).any():
            raise ValueError(f"values are missing beside {value:g}")
        last = count - 1
        middle = int(np.searchsorted(columns, columns[last] / 2.0))
        if last >= 3:
            slope = (grid[row, last] - grid[row, middle]) / (columns[last] - columns[middle])
        elif row:
            slope *= value / rows[row - 1]
        filled[row, count:] = grid[row, last] + slope * (columns[count:] - columns[last])
    return filled


def thinned(axis: Floats, ratio: float) -> NDArray[np.intp]:
    """Places of values that are at least `ratio` apart; the first and the last stay."""
    kept = [0]
    for place in range(1, axis.size - 1):
        if axis[place] >= ratio * max(axis[kept[-1]], 1.0):
            kept.append(place)
    return np.array([*kept, axis.size - 1], dtype=np.intp)
