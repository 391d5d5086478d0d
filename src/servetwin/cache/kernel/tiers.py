"""KV tiers of several engines: the answers of `reference.tiers`, in flat arrays.

A kernel demotes what HBM evicts. For a new request it calls `find`, fills `recompute` in,
then calls `choose` and `load`. `e` is the engine; tier `t` of it is cache `e * tiers + t` of
the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from servetwin.cache.kernel import integrity
from servetwin.cache.kernel.compile import inlined, outlined
from servetwin.cache.kernel.pool import acquire, allocate, make_pools, name, release
from servetwin.cache.kernel.pool import clear as clear_pool
from servetwin.cache.kernel.state import Int, Ints, Pool, Record, Records, Shorts, record_of
from servetwin.cache.policies import PolicyOptions
from servetwin.cache.tiers import LATEST, TierLimits, TierTraffic

__all__ = [
    "Tiers",
    "check_integrity",
    "choose",
    "clear",
    "demote",
    "find",
    "load",
    "make_tiers",
    "traffic",
]

TIER = record_of(
    # `blocks` counts within `load_time`; the last five are what the reference counts.
    "block_ps latency_ps write_free read_free blocks written clean loaded declined lost",
    "",
)


class Tiers(NamedTuple):
    """The tiers of all engines. Without tiers, the arrays are empty."""

    pool: Pool
    tier: Records
    """TIER records, (engines, tiers)."""
    ready: Ints
    """When the write of a block has ended, by its number in the pool."""
    source: Shorts
    """Of the blocks found last: the tier of each."""
    recompute: Ints
    """Of the blocks found last: picoseconds to compute this one and all before it."""


def make_tiers(
    limits: Sequence[TierLimits],
    engines: int,
    ids: int,
    longest: int,
    options: PolicyOptions | None = None,
) -> Tiers:
    """Make empty tiers for ids from 0 to `ids` - 1, of which a request has at most `longest`."""
    kinds = [(each.policy, each.blocks) for each in limits] * engines
    pool = make_pools(kinds, ids, options or PolicyOptions())
    tier = np.zeros((engines, len(limits)), TIER)
    for column, each in enumerate(limits):
        tier["block_ps"][:, column] = each.block_ps
        tier["latency_ps"][:, column] = each.latency_ps
    room = longest if limits else 0
    return Tiers(
        pool=pool,
        tier=tier,
        ready=np.zeros(pool.block.size, np.int64),
        source=np.zeros(room, np.int32),
        recompute=np.zeros(room, np.int64),
    )


@inlined
def _after(time: Int, each: Int, count: Int) -> Int:
    """Time after `count` transfers of `each` picoseconds, at most LATEST."""
    if each > (LATEST - time) // count:
        return np.int64(LATEST)
    return time + count * each


@inlined
def _touch(pool: Pool, c: Int, number: Int) -> None:
    acquire(pool, c, number)
    release(pool, c, number)


@outlined
def demote(tiers: Tiers, e: Int, id: Int, now: Int) -> None:
    """Write back a block that HBM evicted, and what it drives out further down."""
    count = tiers.tier.shape[1]
    for t in range(count):
        id = _store(tiers, tiers.tier[e, t], e * count + t, id, now)
        if id < 0:
            break


@inlined
def _store(tiers: Tiers, tier: Record, c: Int, id: Int, now: Int) -> Int:
    """Take a block from the tier above; return the id that had to go, or -1."""
    pool = tiers.pool
    number = pool.where[c, id]
    if number >= 0:
        _touch(pool, c, number)
        tier.clean += 1
        return np.int64(-1)
    pool.cache[c].evicted = -1
    fresh = allocate(pool, c)
    name(pool, c, fresh, id, 0, -1)
    release(pool, c, fresh)
    tier.write_free = _after(max(now, tier.write_free), tier.block_ps, 1)
    tiers.ready[fresh] = _after(tier.write_free, tier.latency_ps, 1)
    tier.written += 1
    return pool.cache[c].evicted


@outlined
def find(tiers: Tiers, e: Int, ids: Shorts, first: Int, last: Int, now: Int) -> Int:
    """Fill `source` in for the leading ones of `ids[first:last]` that are found; count them."""
    count = tiers.tier.shape[1]
    for place in range(first, last):
        t = 0
        while t < count:
            number = tiers.pool.where[e * count + t, ids[place]]
            if number >= 0 and tiers.ready[number] <= now:
                break
            t += 1
        if t == count:
            return np.int64(place - first)
        tiers.source[place - first] = t
    return np.int64(last - first)


@inlined
def _sent(tier: Record, time: Int) -> Int:
    """When the tier's `blocks` would be sent, for a reader that waits from `time` on."""
    return _after(max(time, tier.read_free), tier.block_ps, tier.blocks)


@inlined
def _load_time(tiers: Tiers, e: Int, now: Int) -> Int:
    """Picoseconds until the `blocks` of each tier are here, one tier after the other."""
    time = now
    for t in range(tiers.tier.shape[1]):
        tier = tiers.tier[e, t]
        if tier.blocks > 0:
            time = _after(_sent(tier, time), tier.latency_ps, 1)
    return max(time - now, 1)


@outlined
def choose(tiers: Tiers, e: Int, found: Int, now: Int) -> Int:
    """Return how many of the blocks found are worth loading, from the first on."""
    for t in range(tiers.tier.shape[1]):
        tiers.tier[e, t].blocks = 0
    chosen = best = np.int64(0)
    for k in range(found):
        tiers.tier[e, tiers.source[k]].blocks += 1
        saving = tiers.recompute[k] - _load_time(tiers, e, now)
        if saving > best:
            best = saving
            chosen = np.int64(k + 1)
    for k in range(chosen, found):
        tiers.tier[e, tiers.source[k]].declined += 1
    return chosen


@outlined
def load(tiers: Tiers, e: Int, ids: Shorts, first: Int, blocks: Int, now: Int) -> Int:
    """Read the first `blocks` of those found last; return when all of them are here."""
    count = tiers.tier.shape[1]
    for t in range(count):
        tiers.tier[e, t].blocks = 0
    for k in range(blocks):
        tiers.tier[e, tiers.source[k]].blocks += 1
    time = now
    for t in range(count):
        tier = tiers.tier[e, t]
        if tier.blocks > 0:
            tier.read_free = _sent(tier, time)
            time = _after(tier.read_free, tier.latency_ps, 1)
            tier.loaded += tier.blocks
    for k in range(blocks - 1, -1, -1):  # the end of the prefix first, as it would be released
        c = e * count + tiers.source[k]
        _touch(tiers.pool, c, tiers.pool.where[c, ids[first + k]])
    return max(time, now + 1)


@outlined
def clear(tiers: Tiers, e: Int) -> None:
    """Empty the tiers of an engine, with nothing under way."""
    count = tiers.tier.shape[1]
    for t in range(count):
        tier = tiers.tier[e, t]
        tier.lost += tiers.pool.cache[e * count + t].named
        tier.write_free = tier.read_free = 0
        clear_pool(tiers.pool, e * count + t)


def traffic(tiers: Tiers, limits: Sequence[TierLimits]) -> tuple[TierTraffic, ...]:
    """Counts of each tier, summed over the engines."""
    cache = tiers.pool.cache.reshape(tiers.tier.shape)
    counts = [tiers.tier[name].sum(0) for name in ("written", "clean", "loaded", "declined")]
    columns = np.array([*counts, cache["evictions"].sum(0)]).T.tolist()
    return tuple(TierTraffic(each.name, *row) for each, row in zip(limits, columns, strict=True))


def check_integrity(tiers: Tiers) -> None:
    """Raise AssertionError where a block is lost, twice in a tier, or in use there."""
    integrity.check_integrity(tiers.pool)
    cache = tiers.pool.cache.reshape(tiers.tier.shape)
    assert np.all(cache["available"] == cache["capacity"])
    stored = tiers.tier["written"] - tiers.tier["lost"]
    assert np.all(stored - cache["evictions"] == cache["named"])
    arrived = tiers.tier["written"] + tiers.tier["clean"]
    assert np.all(cache["evictions"][:, :-1] == arrived[:, 1:])
