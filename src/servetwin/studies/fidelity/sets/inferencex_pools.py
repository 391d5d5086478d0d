"""InferenceX and vendor runs with prefill and decode pools: closed loops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.studies.fidelity.points import (
    MeasuredSet,
    Point,
    between,
    closed_loop,
    deploy,
    in_pools,
    one,
)
from servetwin.studies.fidelity.sets import rows_of
from servetwin.studies.fidelity.sets.inferencex import (
    ENGINES,
    FORMATS,
    GPUS,
    REQUESTS,
    SHORTEST,
    Row,
    measurement,
    model_of,
)
from servetwin.types import Deployment, Link, Parallelism

__all__ = ["engine_of", "load", "users_of"]

BETWEEN_MACHINES = "InfiniBand-NDR"
NVLINK_DOMAIN = {"GB200": 72}
"""GPUs that NVLink connects, where it is not those of one machine."""
ONE_MACHINE = 8

UNKNOWN = "states neither how many workers each pool has nor their batches"
TWICE = "listed twice"


def load(folder: Path) -> MeasuredSet:
    """Rows that say how many workers there are; each measurement once."""
    found = MeasuredSet("inferencex-pools", [], said=SAID)
    rows = [row for row in rows_of(folder / "silicon_half.csv") if row["mode"] == "disagg"]
    known = [row for row in rows if row["decode_num_workers"]]
    listed = {measurement(row) for row in known}
    found.points.extend(_point(row) for row in _once(known, found))
    for row in rows:
        if not row["decode_num_workers"]:
            found.left_out[TWICE if measurement(row) in listed else UNKNOWN] += 1
    return found


SAID = (
    "users are decode batch x decode workers x ranks of data-parallel attention, which is the "
    "concurrency that the rows name; lengths and requests as in inferencex",
    "not stated: what KV blocks move over. NVLink where all GPUs fit into one domain (72 for "
    "GB200, else 8), InfiniBand NDR otherwise, one link for each engine; engines larger than a "
    "domain use InfiniBand inside, too",
    "the decode engine sends the first token, as these engines' routers do: TTFT has the transfer "
    "and the wait for the decode engine in it, TPOT has not",
    "the scheduler of both pools is vLLM's, with 8,192 tokens an iteration for each rank; what the "
    "rows call the prefill batch (1 in all) is not taken for a limit",
)


def _once(rows: Iterable[Row], found: MeasuredSet) -> list[Row]:
    kept: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if measurement(row) in kept:
            found.left_out[TWICE] += 1
        else:
            kept[measurement(row)] = row
    return list(kept.values())


def engine_of(row: Row, pool: str) -> Parallelism:
    """Parallelism of one engine of the pool `prefill` or `decode`."""
    tp, dp, ep = (
        max(1, int(row[f"{pool}_{name}"] or 1))
        for name in ("tp_size", "attention_dp_size", "moe_ep_size")
    )
    moe = find_model(model_of(row)).mixture is not None
    return Parallelism(tp=tp, dp=dp, ep=min(ep, tp * dp) if moe else 1)


def users_of(row: Row) -> int:
    """How many requests are under way at once."""
    batch, workers, ranks = (
        max(1, int(row[f"decode_{name}"]))
        for name in ("batch_size", "num_workers", "attention_dp_size")
    )
    return batch * workers * ranks


def _point(row: Row) -> Point:
    model, gpu, engine = model_of(row), GPUS[row["system"]], ENGINES[row["backend"]]
    weights = FORMATS[row["moe_quant_mode"] or row["gemm_quant_mode"]]
    inputs, outputs, users = int(row["isl"]), int(row["osl"]), users_of(row)
    prefill, decode = (_pool(row, pool, users) for pool in ("prefill", "decode"))
    transfer = _link(gpu, prefill.devices + decode.devices)
    return Point(
        group=f"InferenceX in pools, {row['system'].split('_')[0].upper()}, {engine}",
        label=f"{row['id']}: {model} {weights}, {inputs} + {outputs} tokens, {users} users",
        deployment=in_pools(prefill, decode, transfer),
        workload=closed_loop(
            users, REQUESTS * users, between(SHORTEST, inputs), between(SHORTEST, outputs)
        ),
        measured=one(
            ttft=float(row["silicon_ttft_ms"]) / 1e3, tpot=float(row["silicon_tpot_ms"]) / 1e3
        ),
        host=engine,
        behind_frontend=True,
        first_token_waits=True,
        tags={
            "gpu": gpu,
            "model": model,
            "engine": engine,
            "weights": weights,
            "users": str(users),
            "devices": str(prefill.devices + decode.devices),
            "source": "vendor" if "gap-analysis" in row["silicon_data_source"] else "InferenceX",
        },
    )


def _pool(row: Row, pool: str, users: int) -> Deployment:
    """One pool as if it were alone."""
    gpu, layout = GPUS[row["system"]], engine_of(row, pool)
    workers = int(row[f"{pool}_num_workers"])
    weights = FORMATS[row["moe_quant_mode"] or row["gemm_quant_mode"]]
    per_rank = -(-users // (workers * layout.dp))
    engine = deploy(
        model_of(row),
        gpu,
        layout,
        workers,
        quantization=weights,
        kv_cache_dtype="auto" if weights == "bf16" else "fp8",
        max_num_batched_tokens=8192,
        max_num_seqs=min(8192, max(256, per_rank)),
        max_model_len=int(row["isl"]) + int(row["osl"]) + 64,
        gpu_memory_utilization=0.95,
    )
    return replace(engine, link=_link(gpu, layout.devices))


def _link(gpu: str, devices: int) -> Link:
    """What connects so many GPUs: NVLink as far as it goes."""
    if devices <= NVLINK_DOMAIN.get(gpu, ONE_MACHINE):
        return find_link(find_accelerator(gpu).link)
    return find_link(BETWEEN_MACHINES)
