"""An equivalent of the unpublished trace behind Kavier's published experiments.

Known of the trace are its totals, what they say about the second moment of its output
lengths, and how often a cache of 2 to 64 prompts finds a prefix of 1024, 2048 or 4096 tokens
again and how many prefill hours that saves. This module makes requests of which all that is
true. Everything else is invented: the order and the mixture of lengths, one session after the
other being forgotten, arrivals one second apart, and that prompts of a session share all
their full blocks. `tools/fit_marconi.py` fits the figures in `marconi.toml`.

A session has prompts of one kind: tiny (below 1024 tokens), short (below 2048), medium (below
4096) or long, and all of them begin alike. Sessions lie in a list, the last used first. Each
request takes one of them, from a depth drawn from a deck of depths that holds each as often as
the published hits of one LRU say. Where the sessions at a depth differ in kind, the one is
taken that brings the hits at 2048 and 4096 tokens nearer to their published numbers.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.types import BlockHashes, Workload
from servetwin.units import PS_PER_S
from servetwin.workload.lengths import Lognormal

__all__ = ["BLOCK_TOKENS", "MarconiFigures", "marconi_equivalent", "marconi_figures"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LONG, MEDIUM, SHORT, TINY = range(4)
RANGES = ((4097, 0), (2049, 4094), (1025, 2046), (2, 1022))
"""Shortest and longest prompt of each kind, one short of the true bounds to allow for
rounding; long prompts have no longest."""

DEPTHS = (0, 2, 4, 8, 16, 32, 64, 128)
"""Edges of the classes of depth; beyond come the first prompts of sessions, and tiny ones."""
FIRST, TINY_PROMPT = 7, 8
STEERED = 5
"""Classes of depth in which the kind of a session decides over hits among longer prefixes."""
CACHES = (8, 16)
"""Sizes whose hits at 2048 and 4096 tokens are published."""
FORGOTTEN = 200
"""Depth below which a session is over."""
BLOCK_TOKENS = 1024
MAX_BLOCKS = 1 << 20
"""More blocks than any prompt has, to number those of all sessions apart."""


@dataclass(frozen=True)
class MarconiFigures:
    """What the generator is given; `marconi.toml` names the published values behind it."""

    seed: int
    input_tokens: int
    output_tokens: int
    output_triangle: int
    """Sum of n (n + 1) / 2 over the output lengths n: decode without KV cache, in steps."""
    output_median: float
    output_sigma: float
    output_max: int
    depths: tuple[int, ...]
    """Requests by class of depth, first and tiny prompts at the end."""
    opening: int
    """First prompts with which the trace begins, so that every depth exists."""
    kinds: tuple[float, float, float]
    """Shares of long, medium and short among new sessions."""
    aims: tuple[int, ...]
    """Hits of 8 and 16 prompts at 2048 tokens, then at 4096; then long and medium prompts
    among the hits of 8 at 1024 tokens, and the same of 16."""
    lengths: tuple[tuple[int, int, int, int, float], ...]
    """Mean input tokens by kind, class of depth, and hits (as a class, 0 to 2) at 2048 and
    4096 tokens."""

    @property
    def requests(self) -> int:
        """Requests of the trace."""
        return sum(self.depths)


@dataclass(frozen=True)
class Walk:
    """Session, kind and class of each request; columns have one entry a request."""

    session: Ints
    kind: Ints
    depth: Ints
    """Class of depth, 0 to 8."""
    at_2048: Ints
    """Smallest of CACHES in which the prompt is found at 2048 tokens, as index; 2 for none."""
    at_4096: Ints

    def cells(self) -> Ints:
        """One number for each combination of kind and classes."""
        return ((self.kind * 9 + self.depth) * 3 + self.at_2048) * 3 + self.at_4096


@cache
def marconi_figures() -> MarconiFigures:
    """Read the packaged figures."""
    text = files("servetwin.workload").joinpath("marconi.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    table["lengths"] = tuple(tuple(row) for row in table["lengths"])
    for name in ("depths", "kinds", "aims"):
        table[name] = tuple(table[name])
    return MarconiFigures(**table)


def marconi_equivalent(figures: MarconiFigures | None = None) -> Workload:
    """Make the equivalent trace: 96,870 requests, always the same ones.

    Sessions and the full blocks of 1,024 tokens of every prompt are named. Arrivals are one
    second apart, which nobody published.
    """
    figures = figures or marconi_figures()
    walk = walk_sessions(figures)
    inputs = _input_tokens(figures, walk)
    n = inputs.size
    return Workload(
        arrival=np.arange(n, dtype=np.int64) * PS_PER_S,
        input_tokens=inputs.astype(np.int32),
        output_tokens=_output_tokens(figures).astype(np.int32),
        name="marconi-equivalent",
        source="generated, equivalent to Kavier's unpublished trace",
        session_id=walk.session.astype(np.int32),
        block_hashes=_blocks(walk.session, inputs),
    )


def _stream(figures: MarconiFigures, key: int) -> np.random.Generator:
    seed = np.random.SeedSequence(figures.seed, spawn_key=(key,))
    return np.random.Generator(np.random.PCG64(seed))


def _shuffled(values: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    return values[np.argsort(random.random(values.size), kind="stable")]


def walk_sessions(figures: MarconiFigures) -> Walk:
    """Let every request take a session, by the deck of depths."""
    deck = np.repeat(np.arange(9), figures.depths)
    first = np.flatnonzero(deck == FIRST)[: figures.opening]
    rest = _shuffled(np.delete(deck, first), _stream(figures, 0))
    deck = np.concatenate([deck[first], rest])
    edges = np.cumsum(figures.kinds)
    new = np.searchsorted(edges / edges[-1], _stream(figures, 1).random(deck.size), "right")
    sessions = _Sessions(figures.aims, deck.size)
    # Four draws each: sessions that a depth offers.
    places = _stream(figures, 2).random((deck.size, 4)).tolist()
    rows = []
    for request, (depth, kind) in enumerate(zip(deck.tolist(), new.tolist(), strict=True)):
        if depth >= FIRST:
            rows.append(sessions.open(kind if depth == FIRST else TINY, depth))
        else:
            rows.append(sessions.take(request, depth, places[request]))
    return Walk(*np.array(rows, dtype=np.int64).T)


class _Sessions:
    """The sessions that may go on, the last used first, and the hits so far."""

    def __init__(self, aims: tuple[int, ...], requests: int) -> None:
        self.rates = [aim / requests for aim in aims]
        self.counts = [0] * len(aims)
        self.ids: list[int] = []
        self.kinds: list[int] = []
        self.opened = 0

    def open(self, kind: int, depth: int) -> tuple[int, ...]:
        """Begin a session; nobody returns to a tiny one."""
        if kind != TINY:
            self.ids.insert(0, self.opened)
            self.kinds.insert(0, kind)
            del self.ids[FORGOTTEN:], self.kinds[FORGOTTEN:]
        self.opened += 1
        return self.opened - 1, kind, depth, 2, 2

    def take(self, request: int, depth: int, draws: list[float]) -> tuple[int, ...]:
        """Go on with one of the sessions drawn, the one whose hits are furthest behind."""
        low, high = DEPTHS[depth : depth + 2]
        best: tuple[float, int, tuple[int, int], list[int]] | None = None
        for draw in draws if depth < STEERED else draws[:1]:
            place = low + int(draw * (high - low))
            classes, found = self._outcome(place, depth)
            behind = sum(self.rates[aim] * request - self.counts[aim] for aim in found)
            if best is None or behind > best[0]:
                best = behind, place, classes, found
        assert best is not None
        _, place, classes, found = best
        for aim in found:
            self.counts[aim] += 1
        session, kind = self.ids.pop(place), self.kinds.pop(place)
        self.ids.insert(0, session)
        self.kinds.insert(0, kind)
        return session, kind, depth, *classes

    def _outcome(self, place: int, depth: int) -> tuple[tuple[int, int], list[int]]:
        """Classes at 2048 and 4096 tokens, and the aims that the session at `place` counts for."""
        kind = self.kinds[place]
        if kind == SHORT:
            return (2, 2), []
        above = self.kinds[: place + 1]
        long = above.count(LONG)
        at_2048 = _class(long + above.count(MEDIUM))
        at_4096 = _class(long) if kind == LONG else 2
        found = [size for size in (0, 1) if at_2048 <= size]
        found += [2 + size for size in (0, 1) if at_4096 <= size]
        # Classes of depth up to 2 are hits of 8 prompts at 1024 tokens, up to 3 of 16.
        found += [4 + 2 * size + kind for size in (0, 1) if depth <= 2 + size]
        return (at_2048, at_4096), found


def _class(depth: int) -> int:
    return 0 if depth <= CACHES[0] else 1 if depth <= CACHES[1] else 2


def _input_tokens(figures: MarconiFigures, walk: Walk) -> Ints:
    """Draw lengths with the mean of each cell; the largest cell makes the total exact."""
    means = {
        ((kind * 9 + depth) * 3 + at_2048) * 3 + at_4096: mean
        for kind, depth, at_2048, at_4096, mean in figures.lengths
    }
    cells = walk.cells()
    names, counts = np.unique(cells, return_counts=True)
    totals = {
        name: round(means[name] * count)
        for name, count in zip(names.tolist(), counts.tolist(), strict=True)
    }
    totals[int(names[np.argmax(counts)])] += figures.input_tokens - sum(totals.values())
    tokens = np.empty(cells.size, np.int64)
    random = _stream(figures, 3)
    for name, total in totals.items():
        rows = np.flatnonzero(cells == name)
        tokens[rows] = _shuffled(_spread(name // 81, rows.size, total), random)
    return tokens


def _spread(kind: int, count: int, total: int) -> Ints:
    """Return `count` lengths of a kind that add up to `total`, in ascending order.

    Long ones are exponential above the least; others follow a power of a uniform number.
    """
    low, high = RANGES[kind]
    mean = total / count
    u = (np.arange(count) + 0.5) / count
    if kind == LONG:
        values = low - (mean - low) * np.log1p(-u)
    else:
        values = low + (high - low) * u ** ((high - low) / (mean - low) - 1.0)
    tokens = np.rint(values).astype(np.int64)
    each, more = divmod(total - int(tokens.sum()), count)
    tokens += each
    tokens[:more] += 1
    return tokens


def _output_tokens(figures: MarconiFigures) -> Ints:
    """Lognormal lengths, cut at the longest, with both sums exact."""
    n = figures.requests
    spread = Lognormal(figures.output_median, figures.output_sigma)
    u = (np.arange(n) + 0.5) / n
    tokens = np.minimum(spread.at(u), figures.output_max).astype(np.int64)
    off = figures.output_tokens - int(tokens.sum())
    middle = n // 2
    tokens[middle : middle + abs(off)] += np.sign(off)
    # Moving one token from a length a to a length b changes the second sum by b - a + 1. Each
    # step gives and takes elsewhere, lest a length wander off.
    for step in range(n // 8):
        missing = figures.output_triangle - int((tokens * (tokens + 1) >> 1).sum())
        if missing == 0:
            break
        giver = middle - step
        wanted = int(tokens[giver]) + missing - 1
        taker = int(np.clip(np.searchsorted(tokens, wanted), n // 8 + step, n - n // 8 - step))
        tokens[giver] -= 1
        tokens[taker] += 1
    return _shuffled(tokens, _stream(figures, 4))


def _blocks(session: Ints, inputs: Ints) -> BlockHashes:
    """Name the full blocks of each prompt after its session and their place."""
    counts = inputs // BLOCK_TOKENS
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], counts)
    ids = np.repeat(session, counts) * MAX_BLOCKS + within
    return BlockHashes(offsets, ids, BLOCK_TOKENS)
