"""Which replica takes an arriving request."""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.sim.reference.replica import Replica
from servetwin.sim.reference.state import Request
from servetwin.sim.routing import SplitMix

__all__ = ["Router"]


class Router:
    """Sees, of each replica, the requests sent to it that have not finished yet.

    Their number, or their input tokens: output lengths are unknown to a real router.
    `cache-aware` also looks at what their caches hold. Ties go to the replica of the smaller
    number; of two drawn ones, to the first. None sends a request where it could never run.
    """

    def __init__(self, policy: str, replicas: Sequence[Replica], seed: int) -> None:
        self.policy = policy
        self.replicas = replicas
        self.outstanding = [0] * len(replicas)
        self.tokens = [0] * len(replicas)
        self.turn = 0
        self.random = SplitMix(seed)
        self.down: set[int] = set()
        """Replicas that are known to have failed."""

    def route(self, request: Request) -> int:
        """Choose a replica for `request` and remember that it has it."""
        choice = self._choose(request)
        self.outstanding[choice] += 1
        self.tokens[choice] += request.input_tokens
        return choice

    def finished(self, replica: int, request: Request) -> None:
        self.outstanding[replica] -= 1
        self.tokens[replica] -= request.input_tokens

    def candidates(self, request: Request) -> list[int]:
        """The replicas that can hold `request` and have not failed, as far as is known.

        All that can hold it, where those have failed.
        """
        able = self._able(request)
        return [r for r in able if r not in self.down] or able

    def all_down(self, request: Request) -> bool:
        """Whether all replicas that can hold `request` have failed, as far as is known."""
        return self.down.issuperset(self._able(request))

    def _able(self, request: Request) -> list[int]:
        tokens = request.input_tokens, request.output_tokens
        return [r for r, replica in enumerate(self.replicas) if replica.inputs.holds(*tokens)]

    def _choose(self, request: Request) -> int:
        up = self.candidates(request)
        if self.policy == "round-robin":
            while True:
                self.turn += 1
                if (turn := (self.turn - 1) % len(self.outstanding)) in up:
                    return turn
        if self.policy == "least-outstanding":
            return min(up, key=self.outstanding.__getitem__)
        if self.policy == "least-tokens":
            return min(up, key=self.tokens.__getitem__)
        if self.policy == "cache-aware":
            return min(up, key=lambda r: self.tokens[r] - self.replicas[r].pool.cached(request))
        first = up[self.random.below(len(up))]
        if self.policy == "random":
            return first
        second = up[self.random.below(len(up))]
        return second if self.outstanding[second] < self.outstanding[first] else first
