"""KV tiers of one engine, in plain Python: what leaves HBM, and what is fetched back.

Time is in picoseconds. A transfer that would end after `LATEST` ends then.
"""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.cache.policies import PolicyOptions
from servetwin.cache.reference.replays import make_pool
from servetwin.cache.tiers import LATEST, TierLimits

__all__ = ["Tier", "Tiers"]


class Tier:
    """One tier: its blocks, when each can be read, and a queue in each direction."""

    def __init__(self, limits: TierLimits, options: PolicyOptions) -> None:
        self.limits = limits
        self.options = options
        self.pool = make_pool(limits.policy, limits.blocks, options)
        self.ready: dict[int, int] = {}
        """When the write of a block has ended, by id."""
        self.write_free = 0
        self.read_free = 0
        self.written = 0
        self.clean = 0
        """Blocks that came down and were here already."""
        self.loaded = 0
        self.declined = 0
        """Blocks found here that were recomputed, since that was faster."""
        self.lost = 0
        """Blocks that were here when the machine failed."""

    def touch(self, id: int) -> None:
        """Count one more use of a block that is here."""
        block = self.pool.known[id]
        self.pool.acquire(block)
        self.pool.release(block)

    def store(self, id: int, now: int) -> int | None:
        """Take a block from the tier above; return the id that had to go, if any."""
        if id in self.pool.known:
            self.touch(id)
            self.clean += 1
            return None
        block = self.pool.allocate()
        gone = self.pool.evicted
        if gone is not None:
            del self.ready[gone]
        self.pool.name(block, id, 0, None)
        self.pool.release(block)
        self.write_free = min(max(now, self.write_free) + self.limits.block_ps, LATEST)
        self.ready[id] = min(self.write_free + self.limits.latency_ps, LATEST)
        self.written += 1
        return gone

    def lose(self) -> None:
        """Begin anew, with nothing stored and nothing under way."""
        evictions = self.pool.evictions
        self.lost += len(self.ready)
        self.pool = make_pool(self.limits.policy, self.limits.blocks, self.options)
        self.pool.evictions = evictions
        self.ready.clear()
        self.write_free = self.read_free = 0

    def read(self, blocks: int, now: int) -> tuple[int, int]:
        """Return when the tier would have sent so many blocks, and when they would be there."""
        sent = min(max(now, self.read_free) + blocks * self.limits.block_ps, LATEST)
        return sent, min(sent + self.limits.latency_ps, LATEST)


class Tiers:
    """All tiers of one engine, the nearest first."""

    def __init__(self, limits: Sequence[TierLimits], options: PolicyOptions | None = None) -> None:
        self.tiers = [Tier(each, options or PolicyOptions()) for each in limits]

    def demote(self, id: int, now: int) -> None:
        """Write back a block that HBM evicted, and what it drives out further down."""
        gone: int | None = id
        for tier in self.tiers:
            if gone is None:
                break
            gone = tier.store(gone, now)

    def find(self, ids: Sequence[int], now: int) -> list[Tier]:
        """Return the nearest tier that has each of the leading `ids`, up to the first gap."""
        sources = []
        for id in ids:
            having = (tier for tier in self.tiers if tier.ready.get(id, now + 1) <= now)
            source = next(having, None)
            if source is None:
                break
            sources.append(source)
        return sources

    def load_time(self, sources: Sequence[Tier], now: int) -> int:
        """Picoseconds until blocks from these tiers are all here, one tier after the other.

        At least 1, so that no load ends at the moment at which it begins.
        """
        time = now
        for tier in self.tiers:
            if blocks := sources.count(tier):
                _, time = tier.read(blocks, time)
        return max(time - now, 1)

    def choose(self, sources: Sequence[Tier], recompute: Sequence[int], now: int) -> int:
        """Return how many of the blocks found are worth loading, from the first on.

        `recompute[k - 1]` picoseconds would go into computing the first `k`. The saving is
        as large as possible; of equal ones, the fewest blocks.
        """
        savings = [0] + [
            recompute[k - 1] - self.load_time(sources[:k], now) for k in range(1, len(sources) + 1)
        ]
        chosen = savings.index(max(savings))
        for tier in sources[chosen:]:
            tier.declined += 1
        return chosen

    def load(self, ids: Sequence[int], sources: Sequence[Tier], now: int) -> int:
        """Read blocks from where they were found; return when all of them are here."""
        time = now
        for tier in self.tiers:
            if blocks := sources.count(tier):
                tier.read_free, time = tier.read(blocks, time)
                tier.loaded += blocks
        for id, tier in reversed(list(zip(ids, sources, strict=True))):
            tier.touch(id)  # the end of the prefix first, as it would be released
        return max(time, now + 1)

    def lose(self) -> None:
        """The machine has failed, and all its memory with it."""
        for tier in self.tiers:
            tier.lose()

    def traffic(self) -> list[tuple[int, ...]]:
        """Return the counts of TierTraffic for each tier."""
        return [
            (tier.written, tier.clean, tier.loaded, tier.declined, tier.pool.evictions)
            for tier in self.tiers
        ]

    def check_integrity(self) -> None:
        """Raise AssertionError where a block is lost, twice in a tier, or in use there."""
        above: Tier | None = None
        for tier in self.tiers:
            tier.pool.check_integrity()
            assert tier.pool.available == tier.limits.blocks
            assert tier.ready.keys() == tier.pool.known.keys()
            assert tier.written - tier.pool.evictions - tier.lost == len(tier.ready)
            if above is not None:
                assert above.pool.evictions == tier.written + tier.clean
            above = tier
