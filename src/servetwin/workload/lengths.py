"""Length distributions: how many tokens a request brings, and how many it gets.

Every distribution is given by its inverse CDF. One uniform number then decides one length,
so two distributions drawn from the same stream keep the same order of short and long, and
a correlation between input and output can be laid over any pair of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from servetwin.errors import InputError
from servetwin.types.workload import MAX_TOKENS

__all__ = ["Fixed", "Lengths", "Lognormal", "Quantiles", "Uniform", "Zipf"]

Uniforms = NDArray[np.float64]
Tokens = NDArray[np.int32]

Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""


@dataclass(frozen=True)
class Fixed:
    """Every request has `tokens` tokens."""

    tokens: int

    def __post_init__(self) -> None:
        _check_tokens("a fixed length", self.tokens)

    def at(self, u: Uniforms) -> Tokens:
        return np.full(u.size, self.tokens, dtype=np.int32)


@dataclass(frozen=True)
class Uniform:
    """Each whole number from `low` to `high`, both included, is equally likely."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_tokens("low of a uniform length", self.low)
        _check_tokens("high of a uniform length", self.high)
        if self.low > self.high:
            raise InputError(f"uniform length {self.low}..{self.high}: low must not exceed high")

    def at(self, u: Uniforms) -> Tokens:
        # For a u just below 1 the product may round up to the width itself.
        steps = np.minimum(u * (self.high - self.low + 1), self.high - self.low)
        return steps.astype(np.int32) + np.int32(self.low)


@dataclass(frozen=True)
class Zipf:
    """`k` tokens with probability proportional to `k ** -exponent`, for `low <= k <= high`."""

    exponent: float
    high: int
    low: int = 1

    MAX_HIGH: ClassVar[int] = 10_000_000
    """Largest `high`, since the distribution is tabled: 80 MB at most."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.exponent <= 100.0:
            raise InputError(f"zipf exponent {self.exponent}: must lie between 0 and 100")
        if not 1 <= self.low <= self.high <= self.MAX_HIGH:
            raise InputError(
                f"zipf length {self.low}..{self.high}: must satisfy 1 <= min <= max"
                f" <= {self.MAX_HIGH}"
            )

    @cached_property
    def _cumulative(self) -> Uniforms:
        # Relative to `low`, so that a steep exponent cannot underflow to an empty table.
        ranks = np.arange(self.low, self.high + 1, dtype=np.float64) / self.low
        table = np.cumsum(ranks**-self.exponent)
        return np.asarray(table / table[-1])

    def at(self, u: Uniforms) -> Tokens:
        steps = np.searchsorted(self._cumulative, u, side="right")
        return np.minimum(steps + self.low, self.high).astype(np.int32)


@dataclass(frozen=True)
class Lognormal:
    """The logarithm of the length is normal with mean ln(`median`) and deviation `sigma`.

    Lengths are rounded to whole tokens; those outside `low..high` are set to the nearer bound,
    which moves the mean where a bound cuts off much.
    """

    median: float
    sigma: float
    low: int = 1
    high: int = MAX_TOKENS

    def __post_init__(self) -> None:
        if not 0.0 < self.median <= MAX_TOKENS:
            raise InputError(f"lognormal median {self.median}: must lie in 0..{MAX_TOKENS}")
        if not 0.0 <= self.sigma <= 20.0:
            raise InputError(f"lognormal sigma {self.sigma}: must lie between 0 and 20")
        if not 1 <= self.low <= self.high <= MAX_TOKENS:
            raise InputError(
                f"lognormal bounds {self.low}..{self.high}: must satisfy 1 <= min <= max"
                f" <= {MAX_TOKENS}"
            )

    @classmethod
    def from_mean(
        cls, mean: float, sigma: float, low: int = 1, high: int = MAX_TOKENS
    ) -> Lognormal:
        """Choose the median that gives this mean (before clipping): mean * exp(-sigma**2 / 2)."""
        if not (0.0 < mean <= MAX_TOKENS and 0.0 <= sigma <= 20.0):
            raise InputError(f"lognormal mean {mean}, sigma {sigma}: must be positive and finite")
        return cls(mean * math.exp(-(sigma**2) / 2), sigma, low, high)

    @classmethod
    def from_mean_p90(
        cls, mean: float, p90: float, low: int = 1, high: int = MAX_TOKENS
    ) -> Lognormal:
        """Solve mean = m exp(s**2 / 2), p90 = m exp(s z) for the smaller deviation `s`.

        With z = 1.28 a solution exists while p90 <= exp(z**2 / 2) * mean = 2.27 * mean.
        """
        if not (0.0 < mean < math.inf and 0.0 < p90 < math.inf):
            raise InputError(f"lognormal mean {mean}, p90 {p90}: must be positive and finite")
        radicand = Z90**2 - 2.0 * math.log(p90 / mean)
        if not 0.0 <= radicand <= Z90**2:
            limit = mean * math.exp(Z90**2 / 2)
            raise InputError(
                f"no lognormal has mean {mean:g} and p90 {p90:g}: p90 must lie between"
                f" {mean:g} and {limit:.0f}; or give median and p90"
            )
        return cls.from_mean(mean, Z90 - math.sqrt(radicand), low, high)

    @classmethod
    def from_median_p90(
        cls, median: float, p90: float, low: int = 1, high: int = MAX_TOKENS
    ) -> Lognormal:
        """Choose sigma = ln(p90 / median) / 1.28."""
        if not 0.0 < median <= p90 < math.inf:
            raise InputError(f"lognormal median {median}, p90 {p90}: p90 must not be the smaller")
        return cls(median, math.log(p90 / median) / Z90, low, high)

    def at(self, u: Uniforms) -> Tokens:
        from scipy.special import ndtri

        # A u of 0 would be minus infinity, which a sigma of 0 makes NaN.
        lengths = ndtri(np.maximum(u, 2.0**-54))
        lengths *= self.sigma
        lengths += math.log(self.median)
        # Clipped before exp, which would overflow for a wide sigma.
        np.minimum(lengths, math.log(MAX_TOKENS) + 1.0, out=lengths)
        np.exp(lengths, out=lengths)
        np.rint(lengths, out=lengths)
        return np.asarray(np.clip(lengths, self.low, self.high), dtype=np.int32)


@dataclass(frozen=True)
class Quantiles:
    """A measured distribution: `cumulative[i]` of the requests have at most `tokens[i]` tokens.

    Between two knots the lengths are equally likely. The first knot has probability 0 and lies
    one below the shortest length; the last has probability 1. The fit is exact at each knot.
    """

    tokens: tuple[int, ...]
    cumulative: tuple[float, ...]
    name: str = ""
    """Text by which `parse_lengths` finds these figures again, such as `azure-conv.input`."""

    def __post_init__(self) -> None:
        known = self.tokens and len(self.tokens) == len(self.cumulative)
        if not known or self.cumulative[0] != 0.0 or self.cumulative[-1] != 1.0:
            raise InputError(f"quantiles {self.name}: need one probability a knot, from 0 to 1")
        if self.tokens[0] < 0 or self.tokens[-1] > MAX_TOKENS:
            raise InputError(f"quantiles {self.name}: lengths must lie in 1..{MAX_TOKENS}")
        if np.any(np.diff(self.tokens) < 1) or np.any(np.diff(self.cumulative) < 0):
            raise InputError(f"quantiles {self.name}: tokens must rise, probabilities not fall")

    def at(self, u: Uniforms) -> Tokens:
        lengths = np.ceil(np.interp(u, self.cumulative, self.tokens))
        return np.maximum(lengths, self.tokens[0] + 1).astype(np.int32)


Lengths = Fixed | Uniform | Zipf | Lognormal | Quantiles
"""Each offers `at(u)`: the lengths (int32) at the probabilities `u` in [0, 1)."""


def _check_tokens(what: str, tokens: int) -> None:
    if not 1 <= tokens <= MAX_TOKENS:
        raise InputError(f"{what} is {tokens}: must lie between 1 and {MAX_TOKENS} tokens")
