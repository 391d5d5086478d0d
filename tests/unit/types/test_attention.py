"""AttentionTables: worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.types import AttentionTables


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def tables() -> AttentionTables:
    """Prefill costs 2 for each token, and a decode 3 for each token of context."""
    chunks, depths, decodes, contexts = ints(1, 9), ints(1, 17), ints(0, 2), ints(10, 20, 40)
    offset = np.array([[0, 0, 0], [5, 5, -35], [7, 7, 7]], dtype=np.int64)
    slope = np.array([[0, 0, 0], [1, 1, 3], [2, 2, 2]], dtype=np.int64)
    grid = np.meshgrid(chunks, depths, decodes, contexts, indexing="ij")
    joint = 2 * grid[0] + 3 * grid[2] * grid[3]
    return AttentionTables(contexts, offset, slope, chunks, depths, decodes, joint)


def test_decodes_alone_take_the_segment_of_their_mean_context() -> None:
    found = tables()
    assert [found.segment(1, total) for total in (3, 10, 19, 20, 39, 40, 99)] == [
        0, 0, 0, 1, 1, 2, 2,
    ]  # fmt: skip
    assert found.decode(1, 39) == 5 + 39
    assert found.decode(1, 40) == -35 + 3 * 40
    assert found.decode(2, 79) == 7 + 2 * 79
    assert found.max_decodes == 2


def test_chunks_and_decodes_are_interpolated_together() -> None:
    found = tables()
    assert found.mixed(9, 9 * 9, 0, 0) == 18
    assert found.mixed(5, 5 * 5, 2, 2 * 30) == 10 + 3 * 60
    assert found.mixed(5, 5 * 5, 1, 15) == 10 + 3 * 15
    # Beyond the last knots the last cell goes on, below the first its value holds.
    assert found.mixed(17, 17 * 40, 4, 4 * 50) == 34 + 3 * 200
    assert found.mixed(1, 1, 2, 2 * 3) == 2 + 3 * 20


def test_tables_that_contradict_themselves() -> None:
    found = tables()
    for change in (
        {"contexts": ints(10, 10, 40)},
        {"chunks": ints(1)},
        {"joint": found.joint[:1]},
        {"slope": -found.slope},
        {"decodes": ints(1, 2)},
        {"offset": found.offset + 1},
    ):
        with pytest.raises(ValueError, match=r"must|need"):
            replace(found, **change)
