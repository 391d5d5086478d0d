"""The schema of `summary.json`, version 1, as types that check it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, NonNegativeInt, ValidationError

from servetwin.errors import InputError
from servetwin.results.summary import SCHEMA

__all__ = ["Metrics", "Summary", "check", "json_schema"]

Figure = float | None


class Strict(BaseModel):
    """No conversions, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Stats(Strict):
    """Mean, percentiles and maximum of a latency; null where there were no values."""

    mean: Figure
    p50: Figure
    p90: Figure
    p95: Figure
    p99: Figure
    max: Figure


class KvTier(Strict):
    """What went through one tier below HBM, over all replicas."""

    name: str
    loaded_blocks: NonNegativeInt
    recomputed_blocks: NonNegativeInt
    written_blocks: NonNegativeInt
    evicted_blocks: NonNegativeInt
    read_bytes: NonNegativeInt
    written_bytes: NonNegativeInt


class DecodeCache(Strict):
    """Blocks of one replica of the decode pool, whose replicas have numbers from `first` on."""

    first: NonNegativeInt
    replicas: NonNegativeInt
    capacity_blocks: NonNegativeInt
    peak_blocks: NonNegativeInt
    microbatches: NonNegativeInt = 1


class KvCache(Strict):
    """Blocks of one replica's KV cache; null where unknown."""

    capacity_blocks: NonNegativeInt | None
    peak_blocks: NonNegativeInt | None
    prefix_hit_rate: Figure
    tiers: list[KvTier] | None = None
    decode: DecodeCache | None = None


class Group(Strict):
    """Replicas of one kind, which have numbers from `first` on; blocks are of one of them."""

    gpu: str
    tp: NonNegativeInt
    first: NonNegativeInt
    replicas: NonNegativeInt
    devices: NonNegativeInt
    speed: float
    usd_per_gpu_hour: Figure
    energy_j: Figure = None
    capacity_blocks: NonNegativeInt
    peak_blocks: NonNegativeInt
    requests: NonNegativeInt
    share: Figure
    completed: NonNegativeInt
    ttft_ms: Stats
    tpot_ms: Stats


class Pipeline(Strict):
    """Shares of the time from the first arrival to the last token, by stage, over all engines."""

    stages: NonNegativeInt
    microbatches: NonNegativeInt
    utilization: list[float]
    bubbles: float


class Outage(Strict):
    """When an engine failed, and when it was back; `restart_s` is the part of its restart."""

    engine: NonNegativeInt
    failed_s: float
    back_s: float
    restart_s: Figure = None


class AddedLatency(Strict):
    """Seconds of E2E latency more than in the run without failures."""

    mean: Figure
    max: Figure


class Failures(Strict):
    """Engines that failed during the run, and what that cost; the first outages by name."""

    count: NonNegativeInt
    replicated: bool
    restart_s: float
    downtime_s: float
    longest_s: float
    outages: list[Outage]
    begun_anew: NonNegativeInt
    lost_prompts: NonNegativeInt
    lost_prompt_tokens: NonNegativeInt
    lost_output_tokens: NonNegativeInt
    interrupted: NonNegativeInt
    rerouted: NonNegativeInt
    added_latency_s: AddedLatency


class SloResult(Strict):
    """Limits in milliseconds, and the shares of requests that met them."""

    targets: dict[str, float]
    share: float
    attained: dict[str, float]
    met: bool


class Shares(Strict):
    """Watt-hours, grams of CO2 equivalent and dollars for one of something, PUE included."""

    wh: Figure
    carbon_g: Figure
    usd: Figure


class Totals(Shares):
    """Of the whole run, PUE included, and by request and token."""

    idle_wh: Figure
    active_wh: Figure
    requests: NonNegativeInt
    input_tokens: NonNegativeInt
    output_tokens: NonNegativeInt
    per_request: Shares
    per_million_input_tokens: Shares
    per_million_output_tokens: Shares
    per_million_tokens: Shares


class Energy(Strict):
    """Joules of the devices, without PUE; `idle_j` is what they would take doing nothing."""

    total_j: Figure
    j_per_output_token: Figure
    idle_j: Figure = None
    active_j: Figure = None
    band_j: list[float] | None = None
    footprint: Totals | None = None


class Cost(Strict):
    usd: Figure
    usd_per_million_output_tokens: Figure


class Parts(Strict):
    """Mean seconds of each part of a latency: of all requests, and of those at or above P99."""

    all: dict[str, float]
    p99: dict[str, float]


class PriorityClass(Strict):
    """The requests of one priority."""

    priority: int
    requests: NonNegativeInt
    completed: NonNegativeInt
    preemptions: NonNegativeInt
    ttft_ms: Stats
    e2e_latency_s: Stats


class Attribution(Strict):
    e2e: Parts
    ttft: Parts


Interval = Annotated[list[float], Field(min_length=2, max_length=2)] | None


class StatIntervals(Strict):
    """`[low, high]` of mean and percentiles; null where there were no values."""

    mean: Interval
    p50: Interval
    p90: Interval
    p95: Interval
    p99: Interval


class Intervals(Strict):
    """Where a measurement is to be expected, with the probability `nominal`."""

    nominal: float
    ttft_ms: StatIntervals
    tpot_ms: StatIntervals
    e2e_latency_s: StatIntervals
    throughput_token_s: Interval


class Verdict(Strict):
    """How close the load is to the limit, and how that is known."""

    load: Literal["comfortable", "near the knee", "saturated"]
    because: str


class Metrics(Strict):
    """Definitions: docs/reference/results.md."""

    ttft_ms: Stats
    tpot_ms: Stats
    itl_ms: Stats
    queue_ms: Stats
    e2e_latency_s: Stats
    scheduler_overhead_ms: Stats | None
    throughput_token_s: Figure
    request_throughput_req_s: Figure
    goodput_req_s: Figure
    slo: SloResult | None
    makespan_s: Figure
    requests: NonNegativeInt
    completed: NonNegativeInt
    failed: NonNegativeInt
    rejected: NonNegativeInt
    unfinished: NonNegativeInt
    output_tokens: NonNegativeInt
    preemptions: NonNegativeInt
    kv_cache: KvCache
    groups: list[Group] | None = None
    pipeline: Pipeline | None = None
    decode_pipeline: Pipeline | None = None
    failures: Failures | None = None
    priorities: list[PriorityClass] | None = None
    energy: Energy | None
    carbon_g: Figure
    cost: Cost | None
    attribution: Attribution | None = None
    intervals: Intervals | None = None
    verdict: Verdict | None = None


class Summary(Strict):
    """The whole file."""

    schema_: Literal["servetwin.run/1"] = Field(alias="schema")
    kind: Literal["simulated", "measured"]
    experiment_id: str
    created_at: str
    provenance: dict[str, JsonValue]
    config: dict[str, JsonValue]
    workload: dict[str, JsonValue]
    metrics: Metrics
    notes: list[str]


def check(content: Any, source: str) -> dict[str, Any]:
    """Return `content` unchanged if it is a valid summary; `source` names it in errors.

    Raises InputError with the first thing that is wrong and where.
    """
    version = content.get("schema") if isinstance(content, dict) else None
    if version != SCHEMA:
        raise InputError(f"'{source}' is not a summary of schema {SCHEMA}: schema is {version!r}")
    try:
        Summary.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"'{source}', key {where}: {first['msg']}") from None
    assert isinstance(content, dict)
    return content


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of `summary.json`, for other programs."""
    return Summary.model_json_schema()
