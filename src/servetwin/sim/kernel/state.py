"""Everything the kernel knows, in flat arrays.

A replica and a seat (a request inside an engine) are records, so that all of one of them
lies in a few cache lines; what belongs to a request for good are columns by its number.
Lists are intrusive: a record holds the number of its neighbour, -1 ends the list.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from servetwin.cache.kernel.features import OPTIONAL
from servetwin.cache.kernel.state import Pool
from servetwin.cache.kernel.tiers import Tiers
from servetwin.units import CLOCK_END_PS

__all__ = [
    "BRIDGE",
    "CHUNK",
    "CLOCK_END",
    "FAULT",
    "FOREVER",
    "GATE",
    "PLAIN_SETTINGS",
    "PREFIX",
    "RARE",
    "REPLICA",
    "SEAT",
    "SNAPSHOT",
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


def _record(wide: str, narrow: str = "") -> np.dtype[np.void]:
    fields = [(name, "i8") for name in wide.split()]
    fields += [(name, "i4") for name in narrow.split()]
    return np.dtype(fields, align=True)


SETTINGS = _record(
    # `lag`: iterations between a plan and knowing its outcome. `grows`: KV blocks are taken
    # as contexts grow. `caching`: inputs share blocks. `tiers`: how many lie below
    # HBM. `hands_over`: to a decode pool; `fetches`: from a prefill pool. `tabled`: attention
    # has tables. `speculating`: decodes have one. `shift`: log2 of the block size, or -1.
    # `stages`: how many of them `engines` have, whose lanes the replicas are; 0 where each has
    # devices of its own. `fails`: engines do. `by_priority`: requests are served so. `loras`:
    # adapters in one batch.
    "scheduler lag grows caching tiers hands_over fetches tabled speculating "
    "budget max_seqs max_total capacity block_size shift "
    "ring_mask replicas leaves router interval gaps closed_loop "
    "base linear_slope head_slope decode_seq decode_ctx prefill_chunk prefill_attn "
    "window decode_window_ctx prefill_window_attn "
    "stages engines swap fails by_priority loras lora_base lora_adapter lora_token"
)

RARE = (
    *("caching", "tiers", "hands_over", "fetches", "tabled", "speculating"),
    *("stages", "fails", "by_priority", "loras"),
)
"""Settings that are 0 in a run without any of the rarer features."""

WITH_THEM = ("engines", "swap", "lora_base", "lora_adapter", "lora_token")
"""Settings that nobody asks for in such a run."""

PLAIN_SETTINGS = _record(
    " ".join(name for name in SETTINGS.names or () if name not in (*RARE, *WITH_THEM))
)
"""Of such a run: the kernel is compiled without code for what it has no setting for."""

OPTIONAL.update(RARE, WITH_THEM)

WORLD = _record(
    # `root`: next request with an arrival of its own. `overrun`: some time has passed the end
    # of the clock.
    "root roots heap_size events end overrun snapshot_limit"
)

GATE = _record(
    # What comes into a pool: `loads` are under way; `turn` and the 64 bits of `random` are
    # the router's.
    "loads turn random"
)

BRIDGE = _record(
    # Between pools: `leaving` requests have a hand-over to come; the rest is the link's.
    "leaving block_ps latency_ps layers"
)

FAULT = _record(
    # `next` is when an engine next fails, is detected or is back, `kind` which of these, and
    # `engine` whose; `known` engines are known to be down. The last five are what
    # `sim.failures.LOSSES` counts, the others what `Failures` says.
    "detect restart restore_block lag replicated reroute "
    "next kind engine known interrupted prompts prompt_tokens output_tokens rerouted"
)

CHUNK = _record(
    # Prompt tokens of a seat in the plan `step`, the last that had some, and in the plan before.
    "step",
    "tokens before",
)

REPLICA = _record(
    # The plan that was made last has number `step` and was made at `now`; it and the
    # `jump` - 1 plans after it decode the same `batch` sequences, whose contexts sum to
    # `contexts` in the first. The next boundary lies `first` after `now`, the one after
    # that `second` later, and each further one `growth` later than the one before.
    "now step batch live contexts free jump first second growth cost iterations split_chunks "
    # Tokens of that plan, and of the one before it, which runs until the next boundary.
    "prefill_tokens pairs window_pairs chunks samples "
    "staged_cost staged_prefill staged_decode staged_context "
    "done_prefill done_decode done_iterations done_context "
    # What prompts add to an iteration: of that plan, of the one before, of all that ended.
    "priced staged_priced done_priced "
    "seen_prefill seen_decode seen_iterations seen_context snapshot peak "
    # Finished requests whose seats and blocks return at the next boundary.
    "leaving_blocks "
    # With failures: blocks in use before that plan, and when the iteration under way began.
    "blocks_before begun "
    # With prefix caching: blocks that the jump's further plans have taken already, and
    # requests admitted so far. `anonymous` heads the blocks in use that nobody can find.
    "ahead admitted "
    # With tiers: further plans of the jump that have taken their blocks.
    "caught",
    "seats leaving leaving_count idle open queue_head queue_tail queue_length "
    "order_tail vacant prefills anonymous "
    # Seats that load or have loaded, and the first and last of the latter.
    "loading ready_head ready_tail "
    # Seats whose first decode in this pool is in that plan: the last ones in `prefilling`.
    "joining "
    # `doomed`: a failure will interrupt the iteration under way, whose tokens never come.
    # `redoing` of the `live` sequences decode tokens that their users have. `parked`: down, and
    # idle since. `astray` heads requests without a seat whose last token was to come.
    "doomed redoing parked astray "
    # With priorities: somebody in the running list was left out of the plan.
    "late "
    # With LoRA adapters: different ones that the `adapted` of the `batch` sequences need, others
    # that prompts of the plan need, for so many tokens; who was set aside.
    "adapters adapted prompt_adapters prompt_adapted aside aside_tail",
)

SEAT = _record(
    # A decoding request had `context` tokens in plan `joined`; plan `leave` is the first
    # without it.
    "joined leave "
    # For `attribution`: when the prompt began or the last token came, and where the
    # replica's sums stood.
    "mark mark_priced mark_prefill",
    # `remote`: its prompt was computed in another pool. `late`: see `kernel/priority.py`.
    "mark_done request input output generated target computed blocks context phase remote "
    "ring_next ring_prev order_next order_prev late",
)

PREFIX = _record(
    # Of the blocks of its input, a seat has `named` ids from `Caches.ids[first]` on, and has
    # given `filled` of them to its blocks. `order` ascends along the running list.
    "first order",
    "named filled",
)

SNAPSHOT = np.dtype(
    [
        ("running", "i4"),
        ("waiting", "i4"),
        ("kv_blocks", "i8"),
        ("prefill_tokens", "i8"),
        ("decode_tokens", "i8"),
        ("iterations", "i8"),
        ("context_tokens", "i8"),
    ]
)

Ints = NDArray[np.int64]
Shorts = NDArray[np.int32]
Int = Any
Flag = Any
"""numba's int64 and bool, which to mypy are now Python's and now numpy's."""
Records = Any
"""An array of records."""
Record = Any
"""One record, by reference: numba knows its fields and writes through to the array."""


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
    """The arrays of `types.AttentionTables`; empty without them."""

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
    """When it came to this pool."""


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
    known: Shorts
    """By engine: 1 where it is known to be down."""
    chunk: Records
    """CHUNK of each seat."""
    had: Shorts
    """By request: tokens that the user had when its engine last failed."""
    retries: Shorts


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
    """One record."""
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
    head: Ints
    attention: Attention
    speculation: Ints
    """As `IterationCost` has it; empty without."""
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
