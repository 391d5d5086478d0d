"""The summary: strict JSON that its own schema accepts."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servetwin.results import Slo, schema, summary
from servetwin.results.summary import experiment_id, plain, to_json
from servetwin.types import AttentionKind, RunResult, Status
from support.runs import Shape, request_table, synthetic_run


@dataclass
class Setting:
    name: str
    value: float


@pytest.mark.parametrize(
    "run",
    [
        synthetic_run(),
        synthetic_run(timeline=None, token_gaps=None, kind="measured"),
        synthetic_run(requests=request_table(arrival=np.empty(0, np.int64))),
        synthetic_run(requests=request_table(arrival=[-1], status=[Status.UNFINISHED])),
        synthetic_run(config={}, provenance={}, workload={}, notes=(), kv_capacity_blocks=0),
    ],
)
@pytest.mark.parametrize("slo", [None, Slo(ttft=1, share=0.5)])
def test_every_summary_fits_the_schema(run: RunResult, slo: Slo | None) -> None:
    content = json.loads(to_json(summary(run, slo)))
    assert schema.check(content, "here") is content
    assert list(content) == list(schema.json_schema()["properties"])


def test_the_layout_is_that_of_version_1() -> None:
    """Renaming a key breaks every reader: it needs a new version of the schema."""
    metrics = summary(synthetic_run())["metrics"]
    assert list(metrics) == list(schema.json_schema()["$defs"]["Metrics"]["properties"])
    assert list(metrics["ttft_ms"]) == ["mean", "p50", "p90", "p95", "p99", "max"]
    kv_cache = ["capacity_blocks", "peak_blocks", "prefix_hit_rate", "tiers", "decode"]
    assert list(metrics["kv_cache"]) == kv_cache


def test_values_become_plain() -> None:
    value = {
        1: np.float32(0.5),
        "nan": math.nan,
        "inf": np.array([1.0, math.inf]),
        "path": Path("a/b"),
        "kind": AttentionKind.FULL,
        "status": Status.ERROR,
        "setting": Setting("x", 2.0),
        "pair": (True, None),
    }
    assert plain(value) == {
        "1": 0.5,
        "nan": None,
        "inf": [1.0, None],
        "path": "a/b",
        "kind": "full",
        "status": 3,
        "setting": {"name": "x", "value": 2.0},
        "pair": [True, None],
    }
    assert type(plain(Status.ERROR)) is int
    with pytest.raises(TypeError, match="object has no place"):
        plain(object())


def test_equal_settings_have_equal_ids() -> None:
    provenance: dict[str, Any] = {"seed": 1}
    run = synthetic_run(provenance=provenance)
    same = synthetic_run(provenance=provenance | {"command": "other words"})
    assert summary(run)["experiment_id"] == experiment_id(same)
    assert len(experiment_id(run)) == 12
    for changed in (
        synthetic_run(provenance={"seed": 2}),
        synthetic_run(Shape(rps=5), provenance=provenance),
        synthetic_run(provenance=provenance, config={"tp": 2}),
    ):
        assert experiment_id(changed) != experiment_id(run)


def test_a_new_run_is_stamped_with_the_time() -> None:
    stamp = datetime.fromisoformat(summary(synthetic_run(provenance={}))["created_at"])
    assert stamp.tzinfo is not None
    assert "created_at" not in summary(synthetic_run())["provenance"]


def test_losses_are_noted() -> None:
    notes = summary(synthetic_run(Shape(rejected=2)))["notes"]
    assert notes[-1] == "Latencies leave out requests that did not complete: 2 rejected."
    assert len(summary(synthetic_run(Shape(rejected=0)))["notes"]) == 1
