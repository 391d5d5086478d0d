"""KV blocks that outlive their request: prefix caching (section 4 of the semantics)."""

from __future__ import annotations

from collections import Counter

from servetwin.cache.policies import flop_bonus
from servetwin.cache.reference import Block, make_pool
from servetwin.cache.reference import BlockPool as Cache
from servetwin.sim.prefixes import Prefixes
from servetwin.sim.reference.state import BlockPool, Request
from servetwin.units import NOT_YET

__all__ = ["PrefixPool"]


class PrefixPool(BlockPool):
    """KV blocks of one replica, of which the full ones of inputs can be found again.

    `held` lists the blocks of each admitted request, from the beginning of its sequence on.
    Blocks of which nobody knows the content (generated tokens, the unfilled end of an input,
    what the workload does not name) have no id.
    """

    def __init__(self, capacity: int, block_size: int, prefixes: Prefixes) -> None:
        super().__init__(capacity, block_size)
        self.prefixes = prefixes
        self.cache = _cache_of(prefixes, capacity)
        self.held: dict[Request, list[Block]] = {}
        self.filled: dict[Request, int] = {}
        """By request: leading blocks that were full when last looked at."""
        self._offsets = prefixes.blocks.offsets.tolist()
        self._ids = prefixes.blocks.ids

    def names(self, request: Request, start: int, stop: int) -> list[int]:
        """Ids of the blocks `start` to `stop` - 1, as far as the workload names them."""
        first, last = self._offsets[request.number : request.number + 2]
        ids: list[int] = self._ids[first + start : min(first + stop, last)].tolist()
        return ids

    def hits(self, request: Request) -> list[Block]:
        """The leading blocks that are cached, short of the whole: a token must be computed."""
        found = []
        for id in self.names(request, 0, (request.known_tokens - 1) // self.block_size):
            block = self.cache.lookup(id)
            if block is None:
                break
            found.append(block)
        return found

    def cached(self, request: Request) -> int:
        return len(self.hits(request)) * self.block_size

    def needs(self, request: Request, tokens: int) -> int:
        hits = self.hits(request)
        idle = sum(block.refs == 0 for block in hits)
        return self.blocks_for(tokens) - len(hits) + idle

    def begin(self, request: Request) -> None:
        hits = self.hits(request)
        for block in hits:
            self.cache.acquire(block)
        self.held[request] = hits
        self.filled[request] = len(hits)
        request.blocks = len(hits)
        request.computed = len(hits) * self.block_size
        if request.first_scheduled == NOT_YET:
            request.cached_tokens = request.computed
        self._count()

    def grow(self, request: Request, tokens: int) -> None:
        held = self.held[request]
        while len(held) < self.blocks_for(tokens):
            held.append(self.allocate())
        request.blocks = len(held)
        self._count()

    def allocate(self) -> Block:
        return self.cache.allocate()

    def fill(self, request: Request) -> None:
        held = self.held[request]
        before, full = self.filled[request], request.computed // self.block_size
        for depth, id in enumerate(self.names(request, before, full), before):
            self.cache.name(held[depth], id, depth, held[depth - 1] if depth else None)
        self.filled[request] = full

    def release(self, request: Request) -> None:
        for block in reversed(self.held.pop(request)):
            self.cache.release(block)
        del self.filled[request]
        request.blocks = 0
        self._count()

    def lose(self) -> None:
        evictions = self.cache.evictions
        self.cache = _cache_of(self.prefixes, self.capacity)
        self.cache.evictions = evictions
        self.held.clear()
        self.filled.clear()
        self._count()

    def _count(self) -> None:
        self.used = self.capacity - self.cache.available

    def check_integrity(self, owners: list[Request]) -> None:
        """Assert that every use of a block is somebody's, and every name in its place."""
        self.cache.check_integrity()
        assert set(self.held) == set(owners)
        users: Counter[Block] = Counter()
        for request, held in self.held.items():
            assert len(held) == request.blocks
            users.update(held)
            names = self.names(request, 0, self.filled[request])
            assert all(block.id in (None, id) for block, id in zip(held, names, strict=False))
            assert all(block.id is None for block in held[len(names) :])
        assert all(block.refs == count for block, count in users.items())
        assert self.used == len(users) == self.capacity - self.cache.available


def _cache_of(prefixes: Prefixes, capacity: int) -> Cache:
    if not isinstance(prefixes.policy, str):
        return Cache(capacity, prefixes.policy(capacity))
    blocks = prefixes.blocks
    bonus = flop_bonus(blocks.longest, capacity, blocks.block_tokens, prefixes.options)
    return make_pool(prefixes.policy, capacity, prefixes.options, bonus.tolist())
