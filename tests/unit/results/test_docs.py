"""docs/reference/results.md names every key and column, and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from servetwin.results import schema, tables, write_run
from support.runs import synthetic_run

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "results.md").read_text("utf-8")


def test_every_key_and_column_is_described() -> None:
    names = [*schema.json_schema()["properties"], *tables.REQUESTS.names, *tables.TIMELINE.names]
    for model in (
        schema.Metrics,
        schema.KvCache,
        schema.KvTier,
        schema.SloResult,
        schema.Energy,
        schema.Cost,
        schema.Intervals,
        schema.Verdict,
    ):
        names += model.model_fields
    described = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", PAGE))))
    assert set(names) - described == set()


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(synthetic_run(), tmp_path / "out" / "azure")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(code, {})
    ttft, goodput = map(float, capsys.readouterr().out.split())
    assert ttft > 0
    assert goodput > 0
