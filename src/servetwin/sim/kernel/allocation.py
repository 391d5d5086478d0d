"""Lay out the state of a run that has not begun."""

from __future__ import annotations

import numpy as np

from servetwin.cache import PolicyOptions
from servetwin.cache.kernel.pool import make_pool, make_pools
from servetwin.cache.kernel.state import BLOCK
from servetwin.cache.kernel.tiers import make_tiers
from servetwin.cache.policies import flop_bonus
from servetwin.errors import InputError
from servetwin.sim.inputs import SimInputs
from servetwin.sim.kernel.adapters import make_adapters
from servetwin.sim.kernel.outages import make_outages
from servetwin.sim.kernel.records import (
    BRIDGE,
    GATE,
    PREFIX,
    REPLICA,
    SEAT,
    SNAPSHOT,
    WORLD,
)
from servetwin.sim.kernel.settings import make_settings
from servetwin.sim.kernel.stages import make_stages
from servetwin.sim.kernel.state import (
    FOREVER,
    Bridge,
    Caches,
    Ints,
    Loads,
    Records,
    Shorts,
    State,
)
from servetwin.sim.kernel.tables import attention_tables, continued, stacked
from servetwin.sim.kernel.waiting import make_waiting
from servetwin.sim.outcome import empty_columns, empty_gaps
from servetwin.types import Status
from servetwin.units import NOT_YET

__all__ = ["MOST_BYTES", "allocate"]

MOST_BYTES = 8_000_000_000
"""State of replicas and seats that one run may take."""


def allocate(inputs: SimInputs, *, fetches: bool = False) -> State:
    """Arrays of a pool in which nothing has happened; `fetches`: what another has prefilled."""
    workload = inputs.workload
    n, count = len(workload), inputs.replicas
    seats = min(inputs.settings.max_num_seqs, n)
    if inputs.settings.scheduler == "single":
        seats = 1
    ring_size = _ring_size(inputs)
    _check_size(inputs, seats, ring_size)
    leaves = 1 << (count - 1).bit_length()
    child, sibling, think, roots = _relations(inputs)
    columns, groups = empty_columns(n), inputs.groups
    return State(
        settings=make_settings(inputs, seats, ring_size, leaves, fetches),
        world=_world(inputs, roots.size or n),
        gate=_gate(inputs),
        replica=_replicas(inputs, seats),
        seat=_seats(count, seats),
        caches=_caches(inputs, seats),
        loads=_loads(inputs, seats, bool(inputs.tiers) or fetches),
        waiting=make_waiting(inputs),
        adapters=make_adapters(inputs),
        bridge=_no_bridge(),
        stages=make_stages(inputs),
        outages=make_outages(inputs, count * seats),
        prefilling=np.zeros((count, seats), np.int32),
        ring=np.full((count, ring_size), -1, np.int32),
        ring_used=np.zeros((count, ring_size // 64), np.uint64),
        phases=np.zeros((count, inputs.settings.block_size), np.int32),
        linear=continued(groups, "linear"),
        head=continued(groups, "head"),
        attention=attention_tables([group.cost.attention for group in groups]),
        speculation=stacked([group.cost.speculation for group in groups]),
        times=np.full(2 * leaves, FOREVER, np.int64),
        outstanding=np.zeros(count, np.int64),
        outstanding_tokens=np.zeros(count, np.int64),
        due_time=np.full(count, FOREVER, np.int64),
        due=np.zeros(count, np.int64),
        due_tokens=np.zeros(count, np.int64),
        heap_time=np.zeros(think.size, np.int64),
        heap_request=np.zeros(think.size, np.int32),
        gaps=empty_gaps(inputs.token_gaps),
        snapshots=np.zeros((0, count), SNAPSHOT),
        arrival=workload.arrival.copy() if workload.closed_loop else workload.arrival,
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        roots=roots,
        child=child,
        sibling=sibling,
        think=think,
        generated=np.zeros(n, np.int32),
        next_waiting=np.full(n, -1, np.int32),
        first_scheduled=columns["first_scheduled"],
        first_token=columns["first_token"],
        finish=columns["finish"],
        prefill_time=np.zeros(n, np.int64),
        decode_time=np.zeros(n, np.int64),
        preempted_time=np.zeros(n, np.int64),
        preemptions=np.zeros(n, np.int32),
        home=np.full(n, -1, np.int32),
        status=np.full(n, Status.UNFINISHED, np.int8),
    )


def _caches(inputs: SimInputs, seats: int) -> Caches:
    prefixes = inputs.prefixes
    if prefixes is None:
        none = np.zeros(0, np.int32)
        pool = make_pool("vllm-lru", 0, 0, PolicyOptions())
        tiers = make_tiers((), inputs.replicas, 0, 0)
        return Caches(np.zeros(0, PREFIX), pool, none, np.zeros(0, np.int64), none, none, tiers)
    assert isinstance(prefixes.policy, str), "an own policy runs in the reference simulator"
    blocks, options = prefixes.blocks, prefixes.options
    kinds, bonuses = [], []
    for group in inputs.groups:
        bonus = flop_bonus(blocks.longest, group.capacity_blocks, blocks.block_tokens, options)
        kinds += [(prefixes.policy, _room(group))] * group.replicas
        bonuses += [bonus] * (group.replicas if inputs.also else 1)
    pool = make_pools(kinds, blocks.distinct, options, np.stack(bonuses))
    return Caches(
        seat=np.zeros(inputs.replicas * seats, PREFIX),
        pool=pool,
        ids=blocks.ids,
        offsets=blocks.offsets,
        held=np.zeros(blocks.ids.size, np.int32),
        cached=np.zeros(len(inputs.workload), np.int32),
        tiers=make_tiers(inputs.tiers, inputs.replicas, blocks.distinct, blocks.longest, options),
    )


def _loads(inputs: SimInputs, seats: int, wanted: bool) -> Loads:
    n = len(inputs.workload) if wanted else 0
    most = min(n, seats * inputs.replicas)
    return Loads(
        time=np.zeros(most, np.int64),
        request=np.zeros(most, np.int32),
        seat=np.zeros(n, np.int32),
        transfer=np.zeros(n, np.int64),
    )


def _room(inputs: SimInputs) -> int:
    """Blocks of one replica; no more than all requests could ever take, one after another."""
    tokens = inputs.workload.input_tokens.astype(np.int64) + inputs.workload.output_tokens
    needs = -(-tokens // inputs.settings.block_size)
    return min(inputs.capacity_blocks, int(needs.sum()))


def _ring_size(inputs: SimInputs) -> int:
    """Power of two above the longest answer that is not rejected."""
    limit = max(group.max_total_tokens for group in inputs.groups)
    longest = min(int(inputs.workload.output_tokens.max()), limit)
    return max(64, 1 << (longest + 1).bit_length())


def _check_size(inputs: SimInputs, seats: int, ring_size: int) -> None:
    """Refuse a cluster whose state alone would fill the machine."""
    each = 4 * ring_size + 4 * inputs.settings.block_size + (SEAT.itemsize + 4) * seats
    advice = "a smaller max_num_seqs or block_size, or shorter outputs"
    if inputs.prefixes is not None:
        room = max(map(_room, inputs.groups))
        each += (BLOCK.itemsize + 4) * room + 12 * inputs.prefixes.blocks.distinct
        each += PREFIX.itemsize * seats
        for tier in inputs.tiers:
            each += (BLOCK.itemsize + 12) * tier.blocks + 12 * inputs.prefixes.blocks.distinct
        advice = "larger blocks, fewer requests, or no prefix caching"
    if each * inputs.replicas > MOST_BYTES:
        raise InputError(
            f"simulating {inputs.replicas:,} replicas takes {each * inputs.replicas / 1e9:.1f} GB "
            f"of state, {each / 1e6:.1f} MB each (most is {MOST_BYTES / 1e9:.0f} GB): use fewer "
            f"replicas, {advice}"
        )


def _world(inputs: SimInputs, roots: int) -> Records:
    record = np.zeros(1, WORLD)
    record["roots"] = roots
    record["snapshot_limit"] = 0 if inputs.snapshot_interval else FOREVER
    return record


def _gate(inputs: SimInputs) -> Records:
    record = np.zeros(1, GATE)
    record["random"] = np.array([inputs.seed], np.int64)
    return record


def _no_bridge() -> Bridge:
    """What a pool has that is alone."""
    times, shorts = np.zeros(0, np.int64), np.zeros(0, np.int32)
    link = np.zeros(1, BRIDGE)
    return Bridge(link, shorts, shorts, shorts, times, shorts, times, times, times, times)


def _replicas(inputs: SimInputs, seats: int) -> Records:
    records = np.zeros(inputs.replicas, REPLICA)
    counts = [group.replicas for group in inputs.groups]
    records["kind"] = np.repeat(np.arange(len(counts)), counts)
    records["free"] = np.repeat([group.capacity_blocks for group in inputs.groups], counts)
    records["idle"] = 1
    records["jump"] = 1
    for name in ("leaving", "queue_head", "queue_tail", "order_tail", "anonymous", "ready_head"):
        records[name] = -1
    records["astray"] = records["aside"] = -1
    records["vacant"] = np.arange(inputs.replicas) * seats
    return records


def _seats(replicas: int, seats: int) -> Records:
    """All vacant: each replica's are chained through `order_next`."""
    records = np.zeros(replicas * seats, SEAT)
    following = np.arange(1, replicas * seats + 1, dtype=np.int32)
    following[seats - 1 :: seats] = -1
    records["order_next"] = following
    records["request"] = -1
    return records


def _relations(inputs: SimInputs) -> tuple[Shorts, Shorts, Ints, Shorts]:
    """First child and next sibling of each request, think times, and the roots."""
    none = np.zeros(0, np.int32)
    workload = inputs.workload
    if not workload.closed_loop or workload.parent is None:
        return none, none, np.zeros(0, np.int64), none
    n = len(workload)
    child = np.full(n, -1, np.int32)
    sibling = np.full(n, -1, np.int32)
    for number in range(n - 1, -1, -1):  # backwards, so that siblings come in ascending order
        parent = workload.parent[number]
        if parent >= 0:
            sibling[number] = child[parent]
            child[parent] = number
    think = workload.think_time if workload.think_time is not None else np.zeros(n, np.int64)
    roots = np.flatnonzero(workload.arrival != NOT_YET).astype(np.int32)
    return child, sibling, np.maximum(think, 1), roots
