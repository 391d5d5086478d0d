"""RunResult: what happened, simulated or measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RequestTable", "RunResult", "Status", "Timeline", "TokenGaps"]

Ints = NDArray[np.int64]


class Status(IntEnum):
    """How a request ended; the names are the values of the `status` column of files."""

    OK = 0
    REJECTED = 1
    TIMEOUT = 2
    ERROR = 3
    CANCELLED = 4
    UNFINISHED = 5


@dataclass(frozen=True)
class RequestTable:
    """One row a request. Times are int64 picoseconds, `units.NOT_YET` where nothing happened."""

    arrival: Ints
    first_scheduled: Ints
    first_token: Ints
    finish: Ints
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    preemptions: NDArray[np.int32]
    replica: NDArray[np.int32]
    """-1 for a request that no replica saw."""
    status: NDArray[np.int8]
    session_id: NDArray[np.int32] | None = None
    priority: NDArray[np.int32] | None = None
    """As `Workload` has it."""
    prefill_time: Ints | None = None
    """Picoseconds of its own prefill: from the start of its prompt to its first token, less
    the share that the prompt tokens of others have in the iterations between."""
    decode_time: Ints | None = None
    """From there to its last token, less what prompts of others add to those iterations and
    what preemption costs. What is missing to the E2E latency is queueing, transfer and the
    prefill of others."""
    preempted_time: Ints | None = None
    """From a token before a preemption to the next one after; before the first token, from the
    start of a prompt to its start over."""
    prefill_stage_wait: Ints | None = None
    """With pipeline stages: picoseconds by which the iterations of its prompt took longer since
    other microbatches were in the stages. They are no part of `prefill_time`."""
    decode_stage_wait: Ints | None = None
    """The same of its decodes."""
    prefill_outage: Ints | None = None
    """With failures: picoseconds by which an iteration of its prompt took longer since it was
    interrupted; where it began anew before its first token, also all from the start of its prompt
    to the start over. They are no part of the times above."""
    decode_outage: Ints | None = None
    """The same of its decodes, and where it began anew, from the last token that its user had to
    the next new one."""
    frontend_time: Ints | None = None
    """Picoseconds between its arrival and that at the engine, with a front end."""
    cached_tokens: NDArray[np.int32] | None = None
    sent: Ints | None = None
    kv_transfer: Ints | None = None
    """Picoseconds in which KV blocks came from tiers below HBM, or from the prefill replica; 0
    where none did."""
    completion_us: NDArray[np.float64] | None = None
    """`finish` as a simulator of float microseconds had it, to the last bit."""
    prefill_replica: NDArray[np.int32] | None = None
    """With a decode pool: where the prompt was computed; -1 for a request that nobody saw. Its
    `replica` is where it was decoded; replicas are numbered through, the prefill pool first."""
    handover: Ints | None = None
    """Picoseconds from the first token to the plan on the decode replica that holds the next."""
    handover_transfer: Ints | None = None
    """Picoseconds of it in which its KV blocks were under way, or waited for the link."""
    retries: NDArray[np.int32] | None = None
    """With failures: how often it began anew, since an engine had failed."""

    def __post_init__(self) -> None:
        n = self.arrival.size
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} must have one entry for each of the {n} requests")

    def __len__(self) -> int:
        return int(self.arrival.size)


@dataclass(frozen=True)
class Timeline:
    """One row an interval and replica, ordered by (t, replica). States hold at the time `t`."""

    t: Ints
    """End of the interval, picoseconds."""
    replica: NDArray[np.int32]
    running: NDArray[np.int32]
    waiting: NDArray[np.int32]
    kv_blocks: Ints
    prefill_tokens: Ints
    """Prompt tokens computed by iterations that ended within the interval."""
    decode_tokens: Ints
    interval: int
    """Picoseconds between rows of one replica."""
    iterations: Ints | None = None
    """Iterations that ended within the interval."""
    context_tokens: Ints | None = None
    """KV tokens that the decodes of those iterations read, summed over sequences."""
    power_w: NDArray[np.float64] | None = None
    """Mean power of the replica's devices over the interval."""

    def __len__(self) -> int:
        return int(self.t.size)


@dataclass(frozen=True)
class TokenGaps:
    """Histogram of inter-token latencies: 256 bins to each doubling, so a bin is 0.4 % wide.

    Bin `b` counts gaps of `2**e * (1 + m/256)` ps up to the next such value, where
    `b = e * 256 + m`; gaps below 1 ps fall into bin 0.
    """

    counts: Ints

    BINS_PER_DOUBLING = 256
    BINS = 64 * 256

    def __post_init__(self) -> None:
        if self.counts.shape != (self.BINS,):
            raise ValueError(f"counts must have {self.BINS} entries")


@dataclass(frozen=True)
class RunResult:
    """A run and everything needed to repeat or judge it."""

    kind: str
    """`simulated` or `measured`."""
    config: dict[str, Any]
    """Every setting, resolved; `servetwin simulate --config` accepts it again."""
    provenance: dict[str, Any]
    workload: dict[str, Any]
    """What was asked: type, dataset, source, number of requests, rates and lengths."""
    requests: RequestTable
    kv_capacity_blocks: int = 0
    kv_peak_blocks: int = 0
    """Most blocks in use at once on any one replica."""
    kv_tiers: list[dict[str, Any]] | None = None
    """What went through each tier below HBM, as `kv_cache.tiers` of the summary states it."""
    kv_decode: dict[str, int] | None = None
    """Of the decode pool, as `kv_cache.decode` of the summary states it; the figures above are
    of the prefill pool then."""
    groups: list[dict[str, Any]] | None = None
    """With replicas of several kinds: what is known of each, as `groups` of the summary states it
    beside what its requests tell. The first group's blocks are those above."""
    pipeline: dict[str, Any] | None = None
    """With several microbatches in pipeline stages: how busy each stage was, and the rest."""
    decode_pipeline: dict[str, Any] | None = None
    """The same of the decode pool; `pipeline` is of the prefill pool then."""
    failures: dict[str, Any] | None = None
    """As `failures` of the summary states them."""
    timeline: Timeline | None = None
    token_gaps: TokenGaps | None = None
    footprint: dict[str, Any] | None = None
    """`energy`, `carbon_g` and `cost` as the metrics of the summary state them."""
    error_bars: dict[str, Any] | None = None
    """`intervals` and `verdict` as the metrics of the summary state them."""
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.kind not in ("simulated", "measured"):
            raise ValueError("kind is 'simulated' or 'measured'")
