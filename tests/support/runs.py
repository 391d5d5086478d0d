"""Synthetic runs: seeded, plausible, and made without the simulator."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from servetwin.results.gaps import bins_of
from servetwin.types import RequestTable, RunResult, Status, Timeline, TokenGaps
from servetwin.units import NOT_YET, PS_PER_MS, PS_PER_S

__all__ = ["Shape", "assert_same_columns", "request_table", "synthetic_run"]


@dataclass(frozen=True)
class Shape:
    """How large and how loaded a synthetic run is."""

    requests: int = 400
    replicas: int = 2
    slots: int = 16
    rps: float = 4.0
    seed: int = 0
    rejected: int = 3


def request_table(**columns: Any) -> RequestTable:
    """A request table from the columns that matter; the others take plain values."""
    n = len(columns["arrival"])
    zeros = np.zeros(n, np.int32)
    table: dict[str, Any] = {
        "first_scheduled": np.full(n, NOT_YET),
        "first_token": np.full(n, NOT_YET),
        "finish": np.full(n, NOT_YET),
        "input_tokens": zeros + 1,
        "output_tokens": zeros + 1,
        "preemptions": zeros,
        "replica": zeros,
        "status": np.zeros(n, np.int8),
    }
    table.update({name: np.asarray(column) for name, column in columns.items()})
    times = ("arrival", "first_scheduled", "first_token", "finish", "sent")
    for name in times:
        if name in table:
            table[name] = table[name].astype(np.int64)
    return RequestTable(**table)


def synthetic_run(shape: Shape | None = None, **changes: Any) -> RunResult:
    """First come, first served on `slots` places a replica; the last requests are rejected."""
    shape = shape or Shape()
    table = _serve(shape)
    values: dict[str, Any] = {
        "kind": "simulated",
        "config": {
            "model": "meta-llama/Llama-3.1-8B",
            "gpu": "A100-80GB",
            "tp": 1,
            "pp": 1,
            "replicas": shape.replicas,
            "router": "round-robin",
            "scheduler": "vllm",
            "max_num_seqs": shape.slots,
            "max_num_batched_tokens": 2048,
            "max_model_len": 8192,
            "block_size": 16,
            "weight_dtype": "bf16",
            "kv_cache_dtype": "bf16",
        },
        "provenance": {
            "servetwin": "0.1.0",
            "seed": shape.seed,
            "command": "servetwin simulate --model meta-llama/Llama-3.1-8B --gpu A100-80GB",
            "created_at": "2026-01-02T03:04:05+00:00",
            "experiment_id": "0123456789ab",
            "cost_model": {"level": "derived", "source": "roofline, NVIDIA A100 data sheet"},
            "memory_per_gpu": {
                "weights": 16_060_522_496,
                "runtime": 1_220_000_000,
                "kv_cache": 8_589_934_592,
                "kv_per_token": 131_072.0,
            },
        },
        "workload": {
            "type": "generated",
            "dataset": "synthetic",
            "source": "lognormal lengths, Poisson arrivals",
            "requests": shape.requests,
            "rps": shape.rps,
            "input_tokens": {"mean": float(table.input_tokens.mean())},
            "output_tokens": {"mean": float(table.output_tokens.mean())},
        },
        "requests": table,
        "kv_capacity_blocks": 4096,
        "kv_peak_blocks": 2222,
        "timeline": _timeline(table, shape.replicas),
        "token_gaps": _gaps(table),
        "notes": ("Costs are derived from data sheets, not measured.",),
    }
    return RunResult(**(values | changes))


def _serve(shape: Shape) -> RequestTable:
    rng = np.random.default_rng(shape.seed)
    n = shape.requests
    arrival = np.cumsum(rng.exponential(PS_PER_S / shape.rps, n)).astype(np.int64)
    inputs = np.clip(rng.lognormal(6.5, 1.0, n), 8, 6000).astype(np.int32)
    outputs = np.clip(rng.lognormal(4.8, 0.9, n), 1, 1500).astype(np.int32)
    prefill = 15 * PS_PER_MS + inputs.astype(np.int64) * (PS_PER_MS // 10)
    gap = (rng.normal(25, 4, n).clip(12) * PS_PER_MS).astype(np.int64)
    replica = (np.arange(n) % shape.replicas).astype(np.int32)
    begin = np.empty(n, np.int64)
    places = [[0] * shape.slots for _ in range(shape.replicas)]
    for i in range(n):
        free = heapq.heappop(places[replica[i]])
        begin[i] = max(free, int(arrival[i]) + PS_PER_MS)
        end = begin[i] + prefill[i] + (int(outputs[i]) - 1) * gap[i]
        heapq.heappush(places[replica[i]], int(end))
    status = np.zeros(n, np.int8)
    first = begin + prefill
    finish = first + (outputs.astype(np.int64) - 1) * gap
    lost = slice(n - min(shape.rejected, n), n)
    status[lost] = Status.REJECTED
    replica[lost] = -1
    for column in (begin, first, finish):
        column[lost] = NOT_YET
    return RequestTable(
        arrival=arrival,
        first_scheduled=begin,
        first_token=first,
        finish=finish,
        input_tokens=inputs,
        output_tokens=outputs,
        preemptions=(rng.random(n) < 0.02).astype(np.int32),
        replica=replica,
        status=status,
    )


def _gaps(table: RequestTable) -> TokenGaps:
    several = (table.status == Status.OK) & (table.output_tokens > 1)
    tokens = table.output_tokens[several].astype(np.int64) - 1
    gaps = (table.finish - table.first_token)[several] // tokens
    counts = np.bincount(bins_of(gaps), weights=tokens, minlength=TokenGaps.BINS)
    return TokenGaps(counts.astype(np.int64))


def _timeline(table: RequestTable, replicas: int) -> Timeline:
    ok = table.status == Status.OK
    end = int(table.finish.max())
    interval = PS_PER_S
    times = np.arange(1, end // interval + 2) * interval
    rows: dict[str, list[Any]] = {name: [] for name in ("run", "wait", "kv", "pre", "dec")}
    for replica in range(replicas):
        mine = ok & (table.replica == replica)
        arrived, begun, first, done = (
            np.sort(column[mine])
            for column in (table.arrival, table.first_scheduled, table.first_token, table.finish)
        )
        upto = {
            name: np.searchsorted(column, times)
            for name, column in (("a", arrived), ("b", begun), ("f", first), ("d", done))
        }
        tokens = np.concatenate(([0], np.cumsum(table.input_tokens[mine])))[upto["f"]]
        running = upto["b"] - upto["d"]
        rows["run"].append(running)
        rows["wait"].append(upto["a"] - upto["b"])
        rows["kv"].append(np.minimum(running * 90, 4096))
        rows["pre"].append(np.diff(tokens, prepend=0))
        rows["dec"].append(running * 40)
    merged = {name: np.stack(parts, axis=1).ravel() for name, parts in rows.items()}
    return Timeline(
        t=np.repeat(times, replicas),
        replica=np.tile(np.arange(replicas, dtype=np.int32), times.size),
        running=merged["run"].astype(np.int32),
        waiting=merged["wait"].astype(np.int32),
        kv_blocks=merged["kv"].astype(np.int64),
        prefill_tokens=merged["pre"].astype(np.int64),
        decode_tokens=merged["dec"].astype(np.int64),
        interval=interval,
    )


def assert_same_columns(one: object, other: object) -> None:
    """Compare two records of columns, dtypes included."""
    for field in fields(one):  # type: ignore[arg-type]
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert np.array_equal(left, right), field.name
        else:
            assert left == right, field.name
