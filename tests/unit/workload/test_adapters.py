"""LoRA adapters of requests: read, written, drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.workload import draw_adapters, parse_adapters, read, write


def made(n: int) -> Workload:
    lengths = np.ones(n, np.int32)
    return Workload(np.arange(n, dtype=np.int64), lengths, lengths)


def test_names_are_numbered_and_kept(tmp_path: Path) -> None:
    log, kept = tmp_path / "log.csv", tmp_path / "kept.parquet"
    log.write_text("i,o,lora\n1,1,fr\n2,2,\n3,3,de\n4,4,fr\n")
    found = read(log, mapping={"input": "i", "output": "o", "adapter": "lora"})
    assert found.adapter is not None
    assert found.adapter.tolist() == [0, -1, 1, 0]
    write(found, kept, "servetwin")
    again = read(kept).adapter
    assert again is not None
    assert again.tolist() == [0, -1, 1, 0]
    with pytest.raises(InputError, match="would lose adapters"):
        write(found, tmp_path / "trace.jsonl", "mooncake")
    with pytest.raises(InputError, match="no column 'x' to tell adapters by"):
        read(log, mapping={"input": "i", "output": "o", "adapter": "x"})


def test_drawn_by_popularity() -> None:
    drawn = draw_adapters(made(40_000), parse_adapters("4:zipf=1"), 3).adapter
    assert drawn is not None
    shares = np.bincount(drawn) / drawn.size
    expected = np.array([1, 1 / 2, 1 / 3, 1 / 4]) / (25 / 12)
    np.testing.assert_allclose(shares, expected, atol=0.01)
    even = draw_adapters(made(40_000), parse_adapters("4"), 3).adapter
    assert even is not None
    np.testing.assert_allclose(np.bincount(even) / even.size, np.full(4, 0.25), atol=0.01)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("many", "not understood: write 16, or 16:zipf"),
        ("0", "1 to 100,000 adapters"),
        ("4:zipf=-1", "a zipf of 0 to 10"),
        ("4:power=1", "unknown setting 'power'"),
        ("4:zipf", "not understood"),
    ],
)
def test_what_is_not_understood_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_adapters(text)


def test_nobody_draws_twice() -> None:
    once = draw_adapters(made(3), parse_adapters("2"), 0)
    with pytest.raises(InputError, match="adapters of its own"):
        draw_adapters(once, parse_adapters("2"), 0)
