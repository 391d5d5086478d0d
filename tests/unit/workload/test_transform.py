"""Fewer requests, another rate: exact, and chains stay whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.units import NOT_YET, PS_PER_S
from servetwin.workload import at_rate, preset, read, summarize, take, without_long
from servetwin.workload.arrivals import OpenLoop


def flat(arrivals: list[int]) -> Workload:
    ones = np.ones(len(arrivals), dtype=np.int32)
    return Workload(np.array(arrivals, dtype=np.int64), ones, ones)


def chained() -> Workload:
    return Workload(
        arrival=np.array([3, NOT_YET, 9, NOT_YET]),
        input_tokens=np.array([10, 20, 30, 40], np.int32),
        output_tokens=np.array([1, 2, 3, 4], np.int32),
        session_id=np.array([0, 0, 1, 1], np.int32),
        parent=np.array([-1, 0, -1, 2], np.int32),
        think_time=np.array([0, 7, 0, 8]),
        block_hashes=BlockHashes(np.array([0, 1, 3, 3, 4]), np.array([5, 6, 7, 5]), 16, "session"),
    )


def test_take_cuts_every_column() -> None:
    few = take(chained(), 2)
    assert few.arrival.tolist() == [3, NOT_YET]
    assert few.parent is not None
    assert few.parent.tolist() == [-1, 0]
    assert few.block_hashes is not None
    assert few.block_hashes.ids.tolist() == [5, 6, 7]
    assert few.block_hashes.scope == "session"
    assert len(take(chained(), 9)) == 4
    with pytest.raises(InputError, match="0 requests of workload: at least 1 is needed"):
        take(chained(), 0)


def test_a_rate_scales_the_gaps_and_leaves_think_times() -> None:
    scaled = at_rate(flat([5, 5 + PS_PER_S, 5 + 4 * PS_PER_S]), 1.0)
    assert scaled.arrival.tolist() == [5, 5 + PS_PER_S // 2, 5 + 2 * PS_PER_S]
    loop = at_rate(chained(), 0.5)
    assert loop.arrival.tolist() == [3, NOT_YET, 3 + 2 * PS_PER_S, NOT_YET]
    assert loop.think_time is not None
    assert loop.think_time.tolist() == [0, 7, 0, 8]


@given(
    gaps=st.lists(st.integers(0, 10**15), min_size=1, max_size=50).filter(any),
    rps=st.floats(1e-3, 1e6),
)
def test_the_rate_is_met_to_the_picosecond(gaps: list[int], rps: float) -> None:
    workload = flat(np.cumsum([0, *gaps]).tolist())
    scaled = at_rate(workload, rps)
    assert abs(scaled.span_ps - len(gaps) * PS_PER_S / rps) <= 1 + 1e-15 * scaled.span_ps
    assert np.all(np.diff(scaled.arrival) >= 0)


@pytest.mark.parametrize("rps", [0, -1, float("nan"), float("inf"), 1e300, 1e-300])
def test_a_rate_has_bounds(rps: float) -> None:
    said = f"rate {rps:g}: must lie between 1e-07 and 1e+09 requests per second"
    with pytest.raises(InputError) as caught:
        at_rate(flat([0, 1]), rps)
    assert str(caught.value) == said
    with pytest.raises(InputError) as caught:
        OpenLoop(rps)
    assert str(caught.value) == said
    with pytest.raises(InputError) as caught:
        preset("azure-conv", rps=rps)
    assert str(caught.value) == said


def test_arrivals_without_gaps_cannot_be_scaled() -> None:
    with pytest.raises(InputError, match="one arrival, so there are no gaps to scale to 2"):
        at_rate(flat([4]), 2)
    with pytest.raises(InputError, match="all arrivals at one time"):
        at_rate(flat([4, 4, 4]), 2)
    with pytest.raises(InputError, match="stretch workload over 115 days; 90 at most"):
        at_rate(flat([0, 1, 2]), 2e-7)


def test_the_summary_describes_and_is_json() -> None:
    summary = summarize(chained())
    assert json.loads(json.dumps(summary)) == summary
    assert summary["requests"] == 4
    assert summary["type"] == "generated"
    assert summary["rps"] == pytest.approx(1 / 6e-12)
    assert summary["input_tokens"] == {
        "mean": 25.0,
        "p50": 25.0,
        "p90": pytest.approx(37.0),
        "p99": pytest.approx(39.7),
        "max": 40,
        "total": 100,
    }
    assert (summary["sessions"], summary["follow_ups"]) == (2, 2)
    assert summary["block_hashes"] == {
        "block_tokens": 16,
        "scope": "session",
        "references": 4,
        "distinct": 4,
    }
    assert summarize(flat([1, 1]))["rps"] is None


def test_a_trace_is_called_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[[1, 2]]")
    summary = summarize(read(path))
    assert (summary["type"], summary["dataset"], summary["source"]) == ("trace", "mine", str(path))


def test_a_summary_tells_one_content_from_another(tmp_path: Path) -> None:
    def digest(name: str, content: str) -> str | None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        found: str | None = summarize(read(path))["sha256"]
        return found

    pairs = "[[1, 2], [3, 4]]"
    assert digest("a.json", pairs) == hashlib.sha256(pairs.encode()).hexdigest()[:16]
    assert digest("b.json", pairs) == digest("a.json", pairs)
    assert digest("b.json", pairs + " ") != digest("a.json", pairs)
    assert summarize(flat([1, 2]))["sha256"] is None
    few = take(at_rate(read(write_table(tmp_path / "c.csv")), 5), 2)
    assert few.digest == read(tmp_path / "c.csv").digest
    assert read(tmp_path / "c.csv", mapping={"input": "n", "output": "n"}).digest == few.digest


def write_table(path: Path) -> Path:
    path.write_text(
        "arrived_at,num_prefill_tokens,num_decode_tokens,n\n0,1,1,1\n1,2,2,2\n3,1,1,1\n"
    )
    return path


def test_the_digest_of_a_folder_is_that_of_its_sessions_in_order(tmp_path: Path) -> None:
    texts = ['{"requests": [{"in": 1, "out": 1}]}', '{"requests": [{"in": 2, "out": 1}]}']
    for name, text in zip("ab", texts, strict=True):
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "README.md").write_text("not read")
    assert read(tmp_path).digest == hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def test_what_is_too_long_goes_with_its_follow_ups() -> None:
    workload = Workload(
        arrival=np.array([3, NOT_YET, NOT_YET, 9, NOT_YET, NOT_YET, 12]),
        input_tokens=np.array([10, 20, 5, 10, 10, 10, 30], np.int32),
        output_tokens=np.array([1, 2, 1, 1, 1, 1, 3], np.int32),
        session_id=np.array([0, 0, 0, 1, 1, 1, 2], np.int32),
        parent=np.array([-1, 0, 1, -1, 3, 4, -1], np.int32),
        think_time=np.array([0, 7, 7, 0, 8, 9, 0]),
        block_hashes=BlockHashes(
            np.array([0, 1, 3, 3, 4, 4, 6, 9]), np.array([5, 6, 7, 8, 9, 10, 11, 12, 13]), 16
        ),
        digest="abc",
    )
    kept = without_long(workload, 21)
    assert kept.arrival.tolist() == [3, 9, NOT_YET, NOT_YET]
    assert kept.input_tokens.tolist() == [10, 10, 10, 10]
    assert kept.session_id is not None
    assert kept.session_id.tolist() == [0, 1, 1, 1]
    assert kept.parent is not None
    assert kept.parent.tolist() == [-1, -1, 1, 2]
    assert kept.think_time is not None
    assert kept.think_time.tolist() == [0, 0, 8, 9]
    assert kept.block_hashes is not None
    assert kept.block_hashes.offsets.tolist() == [0, 1, 2, 2, 4]
    assert kept.block_hashes.ids.tolist() == [5, 8, 9, 10]
    assert kept.digest == "abc"
    assert kept.notes == (
        "3 of 7 requests left out: more than 21 tokens of input and output, or follow-ups of those",
    )
    assert without_long(workload, 33) is workload
    said = "workload: of 7 requests none is left without those of more than 10 tokens"
    with pytest.raises(InputError, match=said):
        without_long(workload, 10)
    few = without_long(flat([1, 2, 3]), 2)
    assert few.notes == ()


@given(
    parents=st.lists(st.integers(-1, 30), min_size=1, max_size=30),
    lengths=st.lists(st.integers(1, 9), min_size=30, max_size=30),
    limit=st.integers(1, 10),
)
def test_follow_ups_go_however_long_their_chain(
    parents: list[int], lengths: list[int], limit: int
) -> None:
    n = len(parents)
    parent = [min(wanted, i - 1) for i, wanted in enumerate(parents)]
    kept: list[int] = []
    for i in range(n):
        if lengths[i] + 1 <= limit and (parent[i] < 0 or parent[i] in kept):
            kept.append(i)
    workload = Workload(
        arrival=np.array([i if parent[i] < 0 else NOT_YET for i in range(n)]),
        input_tokens=np.array(lengths[:n], np.int32),
        output_tokens=np.ones(n, np.int32),
        session_id=np.arange(n, dtype=np.int32),
        parent=np.array(parent, np.int32),
        think_time=np.zeros(n, np.int64),
    )
    if not kept:
        with pytest.raises(InputError, match="none is left"):
            without_long(workload, limit)
        return
    found = without_long(workload, limit)
    assert found.session_id is not None
    assert found.session_id.tolist() == kept
    assert found.parent is not None
    assert [p if p < 0 else kept[p] for p in found.parent.tolist()] == [parent[i] for i in kept]
