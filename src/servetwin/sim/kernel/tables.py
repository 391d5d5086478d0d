"""The cost tables of all kinds of engines, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.attention import KNOTS
from servetwin.sim.kernel.state import Attention, Ints
from servetwin.types import AttentionTables

__all__ = ["attention_tables", "continued", "stacked"]

DIMENSIONS = {"offset": 2, "slope": 2, "joint": 4}
"""Of the fields of AttentionTables; of all others 1."""


def continued(groups: Sequence[SimInputs], name: str) -> Ints:
    """Tables `linear` or `head`, each up to the end of the longest; (kinds, entries)."""
    costs = [group.cost for group in groups]
    size = max(getattr(cost, name).size for cost in costs)
    rows = []
    for cost in costs:
        table, slope = getattr(cost, name), getattr(cost, f"{name}_slope")
        rows.append(np.append(table, table[-1] + slope * np.arange(1, size - table.size + 1)))
    return np.stack(rows)


def stacked(arrays: Sequence[Ints | None], dimensions: int = 1) -> Ints:
    """Arrays in one of a dimension more, with zeros at their ends; None for an empty one."""
    empty = np.zeros((0,) * dimensions, np.int64)
    given = [empty if array is None else array for array in arrays]
    shape = np.max([array.shape for array in given], axis=0)
    whole = np.zeros((len(given), *shape), np.int64)
    for row, array in zip(whole, given, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return whole


def attention_tables(tables: Sequence[AttentionTables | None]) -> Attention:
    """Those of each kind."""
    columns = {
        name: stacked([getattr(each, name, None) for each in tables], DIMENSIONS.get(name, 1))
        for name in Attention._fields
        if name != "sizes"
    }
    sizes = [[0 if each is None else getattr(each, name).size for name in KNOTS] for each in tables]
    return Attention(sizes=np.array(sizes, np.int64), **columns)
