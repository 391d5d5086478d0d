"""The figures of docs/background/caching.md are those of the policies."""

from __future__ import annotations

import re
from pathlib import Path

from servetwin.cache import POLICIES, block_trace, replay
from servetwin.workload import read

PAGE = Path(__file__).resolve().parents[3] / "docs" / "background" / "caching.md"
CAPACITIES = (1_000, 10_000, 50_000, None)


def test_the_table_of_hit_rates(data_dir: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    head = next(line for line in text.splitlines() if line.startswith("| policy | 1,000"))
    assert head == "| policy | 1,000 blocks | 10,000 | 50,000 | unbounded |"
    rows = re.findall(r"^\| `([\w-]+)` \|((?: [\d.]+ % \|){4})$", text, re.M)
    trace = block_trace(read(data_dir / "traces" / "mooncake" / "conversation_trace.jsonl"))
    assert [name for name, _ in rows] == list(POLICIES)
    for name, cells in rows:
        rates = [replay(trace, capacity, name).hit_rate for capacity in CAPACITIES]
        assert re.findall(r"[\d.]+", cells) == [f"{rate * 100:.1f}" for rate in rates], name
