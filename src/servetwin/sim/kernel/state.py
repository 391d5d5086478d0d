"""Everything the kernel knows, in flat arrays.

A replica and a seat (a request inside an engine) are `records`; what belongs to a request for
good are columns by its number. Lists are intrusive: a record holds the number of its neighbour,
-1 ends the list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.state import Pool
from servetwin.cache.kernel.tiers import Tiers
from servetwin.units import CLOCK_END_PS

__all__ = [
    "CLOCK_END",
    "FOREVER",
    "Adapters",
    "Attention",
    "Bridge",
    "Caches",
    "Flag",
    "Int",
    "Ints",
    "Outages",
    "Record",
    "Shorts",
    "Stages",
    "State",
    "Waiting",
]

CLOCK_END = np.int64(CLOCK_END_PS)

FOREVER = np.int64((1 << 63) - 1)
"""Later than any event."""

VLLM, SARATHI, ORCA, STATIC, SLOTS = range(5)
SCHEDULER_CODES = {
    "vllm": VLLM,
    "sarathi": SARATHI,
    "orca": ORCA,
    "static": STATIC,
    "single": STATIC,
    "slots": SLOTS,
}

Ints = NDArray[np.int64]
Shorts = NDArray[np.int32]
Int = Any
Flag = Any
"""numba's int64 and bool, which to mypy are now Python's and now numpy's."""
Records = Any
"""An array of records."""
Record = Any
"""One record, by reference: numba knows its fields and writes through to the array."""


PAUSED, LATE = 1, 2
"""Values of a seat's `late`: not served in the plan that was made last; or served again in
it, or there for the first time, so that its next gap begins before the plan."""


class Caches(NamedTuple):
    """What prefix caching adds; the arrays are empty without it."""

    seat: Records
    """PREFIX of each seat."""
    pool: Pool
    """The blocks of all replicas."""
    ids: Shorts
    """Ids of the full input blocks of all requests."""
    offsets: Ints
    """Where in `ids` those of a request begin."""
    held: Shorts
    """Beside each of `ids`, the block that its request holds there."""
    cached: Shorts
    """By request: tokens found in the cache on first admission."""
    tiers: Tiers
    """Where blocks go that are evicted."""


class Attention(NamedTuple):
    """The arrays of `types.AttentionTables` at [kind of engine, …]; empty without them.

    Those of one kind may end before the last entry: there are `sizes` knots.
    """

    sizes: Ints
    contexts: Ints
    offset: Ints
    slope: Ints
    chunks: Ints
    depths: Ints
    decodes: Ints
    joint: Ints


class Loads(NamedTuple):
    """Requests whose blocks are on their way from a tier; the arrays are empty without tiers."""

    time: Ints
    """When they end: a heap by (time, request)."""
    request: Shorts
    seat: Shorts
    """By request: the seat it has while it loads."""
    transfer: Ints
    """By request: picoseconds in which its blocks came."""


class Waiting(NamedTuple):
    """By request, where priorities count; the arrays are empty where they do not."""

    child: Shorts
    """Its first child in the heap of `kernel/waiting.py`."""
    priority: Shorts
    since: Ints
    """When it came to this pool; -1 before."""


class Adapters(NamedTuple):
    """LoRA adapters; the arrays are empty without."""

    of_request: Shorts
    decodes: Shorts
    """Sequences that decode with each, at [replica, adapter]."""
    plan: Ints
    """1 + the last plan whose prompts needed it, where none of those did."""


class Stages(NamedTuple):
    """The pipelines that lanes share; the arrays are empty without them."""

    edges: Ints
    """As `sim.stages.Stages` has them."""
    free: Ints
    """When each stage has done what it has been given; (engines, stages)."""
    busy: Ints
    """Picoseconds of work it has been given."""
    mark: Ints
    """By request: where `done_waited` of its replica stood at `SEAT.mark`; two pools share this
    and the next two."""
    prefill_wait: Ints
    """By request: picoseconds that its prompt waited for stages, and below its decodes."""
    decode_wait: Ints


class Outages(NamedTuple):
    """Engines that fail; the arrays are empty where none can."""

    fault: Records
    """One FAULT."""
    time: Ints
    """When engines fail, by engine."""
    back: Ints
    """When each such failure is over; 0 as long as that is not known."""
    first: Ints
    """Where in `time` those of an engine begin."""
    at: Ints
    """By engine: the failure to come."""
    detect_at: Ints
    """By engine that has failed: when that is known, and below when it is back; or FOREVER."""
    back_at: Ints
    lost: Shorts
    """By replica: 1 where it has lost its KV, with what the decode pool was to fetch."""
    returned: Ints
    """By engine: when it was back last; -1 before."""
    copied: Shorts
    """By replica: 1 where it is down, and goes on from copies."""
    known: Shorts
    """By engine: 1 where it is known to be down."""
    chunk: Records
    """CHUNK of each seat."""
    had: Shorts
    """By request: tokens that the user had when its engine last failed."""
    retries: Shorts
    spent: Ints
    """By replica: what outages have added to its iterations that ended, and below to the one under
    way, where it is planned ahead."""
    coming: Ints
    mark: Ints
    """By request: `spent` of its replica when its prompt began or its last token came."""
    prefill_outage: Ints
    """As `RequestTable` has it, and below."""
    decode_outage: Ints
    token: Ints
    """By request that was preempted: when the token comes that was on its way, maybe FOREVER."""


class Bridge(NamedTuple):
    """What a prefill pool and a decode pool share; the arrays are empty with one pool."""

    link: Records
    """One BRIDGE."""
    outputs: Shorts
    """By request: output tokens, where the prefill pool sees but one."""
    source: Shorts
    """By request: its prefill replica."""
    held: Shorts
    """By request: blocks that it has there, though it has left."""
    time: Ints
    """Hand-overs to come: a heap by (time, request)."""
    request: Shorts
    send_free: Ints
    """When the link of a prefill engine is free, and below that of a decode engine."""
    receive_free: Ints
    handover: Ints
    """By request: as `RequestTable` has it, and below."""
    transfer: Ints


class State(NamedTuple):
    """The arrays of one pool, in the order in which they matter."""

    settings: Records
    """One record, or one for each kind of replica."""
    world: Records
    """One record; two pools share it."""
    gate: Records
    """One record."""
    replica: Records
    seat: Records
    """`max_seqs` consecutive ones for each replica."""
    caches: Caches
    loads: Loads
    waiting: Waiting
    adapters: Adapters
    bridge: Bridge
    stages: Stages
    outages: Outages
    prefilling: Shorts
    """Seats with an unfinished prompt, (replicas, max_seqs); the first `prefills` count."""
    ring: Shorts
    """First seat that leaves at plan `p`, at [replica, p & ring_mask]."""
    ring_used: NDArray[np.uint64]
    """A bit for each entry of `ring` that is not empty."""
    phases: Shorts
    """Sequences that need a block in plan `p`, at [replica, p % block_size]."""
    linear: Ints
    """This and the next at [kind of engine, tokens], past the end of a kind's own continued."""
    head: Ints
    attention: Attention
    speculation: Ints
    """As `IterationCost` has it, at [kind of engine, sequences]; empty without."""
    times: Ints
    """Tournament tree of the replicas' next events: the least is at [1]."""
    outstanding: Ints
    """By replica: unfinished requests, and below their input tokens."""
    outstanding_tokens: Ints
    due_time: Ints
    """When the `due` of them will have finished, which is known one boundary ahead."""
    due: Ints
    due_tokens: Ints
    heap_time: Ints
    heap_request: Shorts
    gaps: Ints
    snapshots: Records
    """(rows, replicas)."""
    arrival: Ints
    input_tokens: Shorts
    output_tokens: Shorts
    roots: Shorts
    """Requests with an arrival of their own; empty where all have."""
    child: Shorts
    sibling: Shorts
    think: Ints
    generated: Shorts
    """Output tokens of a request that was preempted."""
    next_waiting: Shorts
    """In the queue of its replica; where priorities count, in a heap."""
    first_scheduled: Ints
    first_token: Ints
    finish: Ints
    """Time of the last token so far, once a request was preempted or has finished."""
    prefill_time: Ints
    decode_time: Ints
    preempted_time: Ints
    preemptions: Shorts
    home: Shorts
    status: NDArray[np.int8]
