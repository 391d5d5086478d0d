"""From a workload's prefix ids to dense block numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from servetwin.cache import block_trace, replay
from servetwin.cache.trace import dense
from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.workload import read


def workload(
    requests: list[list[int]],
    block_tokens: int = 4,
    inputs: list[int] | None = None,
    sessions: list[int] | None = None,
    scope: str = "global",
) -> Workload:
    counts = [len(request) for request in requests]
    inputs = inputs or [max(1, count * block_tokens) for count in counts]
    return Workload(
        arrival=np.arange(len(requests), dtype=np.int64),
        input_tokens=np.array(inputs, np.int32),
        output_tokens=np.ones(len(requests), np.int32),
        session_id=None if sessions is None else np.array(sessions, np.int32),
        block_hashes=BlockHashes(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            ids=np.array([id for request in requests for id in request], np.int64),
            block_tokens=block_tokens,
            scope=scope,
        ),
    )


@given(
    st.one_of(
        drawn.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 100)),
        drawn.arrays(np.int64, st.integers(1, 60), elements=st.integers(2**61, 2**61 + 50)),
        drawn.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 2**62)),
    )
)
def test_dense_numbers_are_the_ranks_of_the_ids(ids: np.ndarray) -> None:
    known, ranks = np.unique(ids, return_inverse=True)
    numbers, distinct = dense(ids)
    assert numbers.dtype == np.int32
    assert numbers.tolist() == ranks.tolist()
    assert distinct == known.size


def test_no_ids_have_no_ranks() -> None:
    assert dense(np.empty(0, np.int64))[1] == 0


def test_ids_local_to_sessions_meet_only_within_them() -> None:
    requests = [[7, 8], [7, 8], [7, 8]]
    local = block_trace(workload(requests, sessions=[5, 9, 5], scope="session"))
    assert local.ids.tolist() == [0, 1, 2, 3, 0, 1]
    assert replay(local, None).hit_blocks.tolist() == [0, 0, 2]
    common = block_trace(workload(requests, sessions=[5, 9, 5]))
    assert replay(common, None).hit_blocks.tolist() == [0, 2, 2]


def test_sessions_must_be_known() -> None:
    with pytest.raises(InputError, match="requests name no session"):
        block_trace(workload([[1]], scope="session"))


def test_smaller_blocks_split_those_of_the_trace() -> None:
    """Blocks of 4 tokens become two of 2; the last of 3 tokens has one that is full."""
    trace = block_trace(workload([[3, 5], [3, 9]], inputs=[8, 7]), block_tokens=2)
    assert trace.offsets.tolist() == [0, 4, 7]
    assert trace.ids.tolist() == [0, 1, 2, 3, 0, 1, 4]
    assert trace.prefix_chained
    found = replay(trace, None)
    assert found.hit_blocks.tolist() == [0, 2]
    assert found.cached_tokens.tolist() == [0, 4]


def test_larger_blocks_join_those_of_the_trace() -> None:
    """Of five blocks two pairs are full; the second pair of the requests differs in one half."""
    requests = [[1, 2, 3, 4, 5], [1, 2, 3, 6]]
    trace = block_trace(workload(requests), block_tokens=8)
    assert np.diff(trace.offsets).tolist() == [2, 2]
    assert replay(trace, None).hit_blocks.tolist() == [0, 1]


@pytest.mark.parametrize("size", [0, -4, 3, 6])
def test_a_block_size_that_does_not_fit(size: int) -> None:
    with pytest.raises(InputError, match=f"block_tokens {size} must divide the trace's block of 4"):
        block_trace(workload([[1, 2]]), block_tokens=size)


def test_no_request_fills_a_block() -> None:
    with pytest.raises(InputError, match="no request of generated has a full block"):
        block_trace(workload([[1, 2]]), block_tokens=4000)


def test_a_workload_without_prefixes_says_which_have_them() -> None:
    plain = Workload(np.zeros(1, np.int64), np.ones(1, np.int32), np.ones(1, np.int32))
    with pytest.raises(InputError, match=r"names no prefix blocks.*mooncake, agentic"):
        block_trace(plain)


def test_whether_blocks_stand_behind_the_same_block() -> None:
    assert block_trace(workload([[1, 2, 3], [], [1, 2, 4]])).prefix_chained
    assert not block_trace(workload([[1, 2], [3, 2]])).prefix_chained
    assert not block_trace(workload([[1, 2], [2]])).prefix_chained


def test_real_traces_are_chained(data_dir: Path) -> None:
    for name in ("mooncake/conversation_trace.jsonl", "agentic_sessions/trace_0040.json"):
        whole = read(data_dir / "traces" / name)
        assert block_trace(whole).prefix_chained
        finer = block_trace(whole, 16)
        assert finer.prefix_chained
        assert int(np.diff(finer.offsets).max()) <= int(whole.input_tokens.max()) // 16


def test_the_agentic_sessions_share_nothing(data_dir: Path) -> None:
    """What all sessions hit together is the sum of what each hits alone."""
    folder = data_dir / "traces" / "agentic_sessions"
    together = replay(read(folder), None)
    alone = [replay(read(file), None) for file in sorted(folder.glob("*.json"))]
    assert together.hits == sum(found.hits for found in alone)
    assert together.distinct == sum(found.distinct for found in alone)
