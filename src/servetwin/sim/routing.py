"""The pseudo-random numbers that routers draw, the same in both simulators."""

from __future__ import annotations

__all__ = ["GAMMA", "MASK", "MIX_1", "MIX_2", "SplitMix"]

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB


class SplitMix:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): 64 bits a draw from one word of state."""

    def __init__(self, seed: int) -> None:
        self.state = seed & MASK

    def below(self, bound: int) -> int:
        """Draw from 0 … bound - 1. The bias of the modulo is below 2**-50 for any cluster."""
        self.state = (self.state + GAMMA) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * MIX_1) & MASK
        z = ((z ^ (z >> 27)) * MIX_2) & MASK
        return (z ^ (z >> 31)) % bound
