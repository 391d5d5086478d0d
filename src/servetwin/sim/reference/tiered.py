"""KV blocks that leave HBM for tiers below it, and come back (section 4 of the semantics)."""

from __future__ import annotations

from servetwin.cache.reference import Block
from servetwin.cache.reference.tiers import Tiers
from servetwin.sim.inputs import SimInputs
from servetwin.sim.prefixes import Prefixes
from servetwin.sim.reference.cost import price_of_chunk
from servetwin.sim.reference.prefix import PrefixPool
from servetwin.sim.reference.state import BlockPool, Request
from servetwin.units import NOT_YET

__all__ = ["TieredPool", "pool_of"]


class TieredPool(PrefixPool):
    """KV blocks of one replica with tiers below it. `now` is when the plan at work is made."""

    def __init__(self, inputs: SimInputs, prefixes: Prefixes) -> None:
        super().__init__(inputs.capacity_blocks, inputs.settings.block_size, prefixes)
        self.cost = inputs.cost
        self.tiers = Tiers(inputs.tiers, prefixes.options)
        self.now = 0

    def allocate(self) -> Block:
        """Take a block, and write back what it held."""
        block = self.cache.allocate()
        if self.cache.evicted is not None:
            self.tiers.demote(self.cache.evicted, self.now)
        return block

    def load(self, request: Request, tokens: int) -> int | None:
        size, hits = self.block_size, len(self.hits(request))
        ids = self.names(request, hits, (request.known_tokens - 1) // size)
        sources = self.tiers.find(ids, self.now)
        recompute = [
            price_of_chunk(self.cost, count * size, hits * size)
            for count in range(1, len(sources) + 1)
        ]
        count = self.tiers.choose(sources, recompute, self.now)
        if not count:
            return None
        end = self.tiers.load(ids[:count], sources[:count], self.now)
        self.begin(request)
        self.grow(request, tokens)
        request.computed += count * size
        if request.first_scheduled == NOT_YET:
            request.cached_tokens = request.computed
        request.kv_transfer += end - self.now
        return end

    def lose(self) -> None:
        super().lose()
        self.tiers.lose()

    def check_integrity(self, owners: list[Request]) -> None:
        super().check_integrity(owners)
        self.tiers.check_integrity()
        nearest = self.tiers.tiers[0]
        assert self.cache.evictions == nearest.written + nearest.clean


def pool_of(inputs: SimInputs) -> BlockPool:
    """The blocks of one replica, with caching and tiers where there is something to keep."""
    size = inputs.settings.block_size
    if inputs.prefixes is None:
        return BlockPool(inputs.capacity_blocks, size)
    if inputs.tiers:
        return TieredPool(inputs, inputs.prefixes)
    return PrefixPool(inputs.capacity_blocks, size, inputs.prefixes)
