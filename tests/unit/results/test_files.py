"""Files of a run come back as they were."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.tiers import TierTraffic
from servetwin.results import Slo, compute, read_run, summary, write_run
from servetwin.types import RunResult, Status
from servetwin.units import PS_PER_S, seconds_from_ps
from support.runs import assert_same_columns, request_table, synthetic_run

REQUEST_COLUMNS = [
    "request_id",
    "session_id",
    "arrival_s",
    "sent_s",
    "first_scheduled_s",
    "first_token_s",
    "finish_s",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "preemptions",
    "replica",
    "prefill_replica",
    "kv_transfer_s",
    "status",
    "error_kind",
]
TIMELINE_COLUMNS = [
    "t_s",
    "replica",
    "running",
    "waiting",
    "kv_blocks",
    "prefill_tokens",
    "decode_tokens",
    "power_w",
]


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = synthetic_run()
    write_run(run, tmp_path / "new" / "run", slo=Slo(ttft=PS_PER_S))
    back = read_run(tmp_path / "new" / "run")
    assert_same_columns(run.requests, back.requests)
    assert_same_columns(run.timeline, back.timeline)
    assert_same_columns(run.token_gaps, back.token_gaps)
    assert (run.config, run.workload) == (back.config, back.workload)
    assert run.provenance == back.provenance
    assert run.kv_peak_blocks == back.kv_peak_blocks
    assert compute(run) == compute(back)
    first = summary(back)
    assert first == summary(run) | {"notes": first["notes"]}
    assert len(set(first["notes"])) == len(first["notes"])


def test_tiers_come_back(tmp_path: Path) -> None:
    n = 3
    table = request_table(arrival=[0] * n, finish=[9] * n, kv_transfer=np.array([0, 7, 10**12]))
    stated = [TierTraffic("host", 9, 2, 5, 1, 4).stated(block_bytes=1000.0)]
    run = synthetic_run(requests=table, timeline=None, token_gaps=None, kv_tiers=stated)
    write_run(run, tmp_path)
    back = read_run(tmp_path)
    assert_same_columns(table, back.requests)
    assert back.kv_tiers == stated
    assert stated[0]["read_bytes"] == 5000


STATS: dict[str, Any] = dict.fromkeys(("mean", "p50", "p90", "p95", "p99"))
PIPELINE = {"stages": 2, "microbatches": 3, "utilization": [0.5, 0.25], "bubbles": 0.625}
GROUP: dict[str, Any] = {
    "gpu": "L4",
    **{"tp": 1, "first": 0, "replicas": 2, "devices": 2, "speed": 0.5},
    "usd_per_gpu_hour": 1.5,
    **{"capacity_blocks": 7, "peak_blocks": 6, "energy_j": 2.0},
}
STATED: dict[str, Any] = {
    "kv_capacity_blocks": 99,
    "kv_peak_blocks": 98,
    "kv_tiers": [TierTraffic("host", 9, 2, 5, 1, 4).stated(block_bytes=1000.0)],
    "kv_decode": {
        **{"first": 2, "replicas": 1, "capacity_blocks": 5, "peak_blocks": 4},
        "microbatches": 3,
    },
    "groups": [GROUP],
    "pipeline": PIPELINE,
    "decode_pipeline": {**PIPELINE, "stages": 4},
    "failures": {
        **{"count": 1, "begun_anew": 2, "interrupted": 3, "rerouted": 4},
        **{"lost_prompts": 5, "lost_prompt_tokens": 6, "lost_output_tokens": 7},
        **{"restart_s": 8.0, "downtime_s": 9.0, "longest_s": 10.0},
        "replicated": True,
        "outages": [{"engine": 1, "failed_s": 1.5, "back_s": 4.0}],
        "added_latency_s": {"mean": 0.5, "max": None},
    },
    "footprint": {
        "energy": {"total_j": 5.0, "j_per_output_token": None},
        "carbon_g": 2.0,
        "cost": {"usd": 1.0, "usd_per_million_output_tokens": None},
    },
    "error_bars": {
        "intervals": {
            "nominal": 0.9,
            **dict.fromkeys(("ttft_ms", "tpot_ms", "e2e_latency_s"), STATS),
            "throughput_token_s": [1.0, 2.0],
        },
        "verdict": {"load": "comfortable", "because": "little is asked"},
    },
    "notes": ("a note",),
}
TABLES = ("timeline", "token_gaps")
"""Compared above; all else that a run may have is in STATED."""


def test_whatever_a_run_may_state_comes_back(tmp_path: Path) -> None:
    may = {
        field.name
        for field in fields(RunResult)
        if field.default is not MISSING or field.default_factory is not MISSING
    }
    assert may == {*STATED, *TABLES}
    write_run(replace(synthetic_run(), **STATED), tmp_path)
    back = read_run(tmp_path)
    for name, value in STATED.items():
        found = getattr(back, name)
        if name == "groups":  # with figures of its requests
            found = [{key: found[0][key] for key in GROUP}]
        if name == "notes":  # with remarks on what the run stood for
            found = found[: len(value)]
        assert found == value, name


def test_a_measured_run_keeps_its_own_columns(tmp_path: Path) -> None:
    table = request_table(
        arrival=[0, 5, -1],
        first_token=[9, -1, -1],
        finish=[12, -1, -1],
        sent=[1, -1, -1],
        session_id=np.array([4, 4, 5], np.int32),
        cached_tokens=np.array([0, 7, 0], np.int32),
        replica=np.array([0, -1, -1], np.int32),
        status=np.array([0, Status.TIMEOUT, Status.UNFINISHED], np.int8),
    )
    run = synthetic_run(kind="measured", requests=table, timeline=None, token_gaps=None)
    write_run(run, tmp_path)
    back = read_run(tmp_path)
    assert_same_columns(table, back.requests)
    assert back.timeline is None
    assert back.token_gaps is None


@given(st.lists(st.integers(-1, 2**53), min_size=1, max_size=20))
def test_seconds_survive_a_second_round_trip(
    tmp_path_factory: pytest.TempPathFactory, times: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = synthetic_run(requests=request_table(arrival=times), timeline=None)
    write_run(run, folder)
    back = read_run(folder).requests.arrival
    assert np.array_equal(seconds_from_ps(times), seconds_from_ps(back), equal_nan=True)
    small = np.array(times) < 4096 * PS_PER_S
    assert np.array_equal(np.array(times)[small], back[small])


def test_columns_are_those_of_the_format(tmp_path: Path) -> None:
    write_run(synthetic_run(), tmp_path)
    requests = pq.read_table(tmp_path / "requests.parquet")
    attributed = ["prefill_s", "decode_s", "preempted_s"]
    assert requests.column_names == [*REQUEST_COLUMNS, *attributed]
    assert requests["status"].to_pylist()[-4:] == ["ok", "rejected", "rejected", "rejected"]
    assert requests["first_token_s"].null_count == requests["replica"].null_count == 3
    assert requests["sent_s"].null_count == requests.num_rows
    assert pa.types.is_dictionary(requests["status"].type)
    timeline = pq.read_table(tmp_path / "timeline.parquet")
    assert timeline.column_names == [*TIMELINE_COLUMNS, "iterations", "context_tokens"]


def test_several_row_groups_join_up(tmp_path: Path) -> None:
    n = 300_000
    arrival = np.arange(n) * 7
    run = synthetic_run(requests=request_table(arrival=arrival), timeline=None, token_gaps=None)
    write_run(run, tmp_path)
    assert pq.ParquetFile(tmp_path / "requests.parquet").num_row_groups == 2
    assert np.array_equal(read_run(tmp_path).requests.arrival, arrival)
    ids = pq.read_table(tmp_path / "requests.parquet")["request_id"].to_numpy()
    assert np.array_equal(ids, np.arange(n))


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    """Without a summary.json the folder holds no earlier run, whatever its files are called."""
    (tmp_path / "trace.json").write_text("mine")
    write_run(synthetic_run(), tmp_path)
    assert (tmp_path / "trace.json").read_text() == "mine"


def test_files_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    write_run(
        synthetic_run(),
        tmp_path,
        chrome_trace=True,
        extra={"report.html": lambda path: path.write_text("first")},
    )
    (tmp_path / "mine.txt").write_text("kept")
    write_run(synthetic_run(timeline=None), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mine.txt", "requests.parquet", "summary.json"]
