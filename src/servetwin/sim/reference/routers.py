"""Which replica takes an arriving request."""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.sim.reference.state import BlockPool, Request
from servetwin.sim.routing import SplitMix

__all__ = ["Router"]


class Router:
    """Sees, of each replica, the requests sent to it that have not finished yet.

    Their number, or their input tokens: output lengths are unknown to a real router.
    `cache-aware` also looks at what their caches hold. Ties go to the replica of the smaller
    number; of two drawn ones, to the first.
    """

    def __init__(self, policy: str, pools: Sequence[BlockPool], seed: int) -> None:
        replicas = len(pools)
        self.policy = policy
        self.pools = pools
        self.outstanding = [0] * replicas
        self.tokens = [0] * replicas
        self.turn = 0
        self.random = SplitMix(seed)

    def route(self, request: Request) -> int:
        """Choose a replica for `request` and remember that it has it."""
        choice = self._choose(request)
        self.outstanding[choice] += 1
        self.tokens[choice] += request.input_tokens
        return choice

    def finished(self, replica: int, request: Request) -> None:
        self.outstanding[replica] -= 1
        self.tokens[replica] -= request.input_tokens

    def _choose(self, request: Request) -> int:
        count = len(self.outstanding)
        if self.policy == "round-robin":
            self.turn += 1
            return (self.turn - 1) % count
        if self.policy == "least-outstanding":
            return self.outstanding.index(min(self.outstanding))
        if self.policy == "least-tokens":
            return self.tokens.index(min(self.tokens))
        if self.policy == "cache-aware":
            ahead = [
                tokens + request.input_tokens - pool.cached(request)
                for tokens, pool in zip(self.tokens, self.pools, strict=True)
            ]
            return ahead.index(min(ahead))
        first = self.random.below(count)
        if self.policy == "random":
            return first
        second = self.random.below(count)
        return second if self.outstanding[second] < self.outstanding[first] else first
