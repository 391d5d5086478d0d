"""The token budget that suits each side best, so that none loses for lack of tuning.

Aggregated engines and prefill pools are asked with every budget of a grid. Between the best one
and its neighbours others follow, each half way, until neighbours lie within 1/16. Splits share a
search: the grid is tried with the best of them, and what is best there with all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from servetwin.studies.pool_split.layouts import Engines, Layout, resized
from servetwin.studies.pool_split.search import STEP, Found, Question, search

__all__ = ["Contest", "Side", "hold", "most_layouts"]

Key = tuple[int, int]

CLOSE = 1 / 16
"""Relative distance of two budgets between which no other is tried."""


@dataclass(frozen=True)
class Side:
    """Layouts of one kind: aggregated engines, or the splits."""

    layouts: tuple[Layout, ...]
    """With the budget that these engines have of their own."""
    flag: str
    """Names budgets to try."""
    engines: Callable[[int], Engines | None]
    """Such engines with a budget; None where they cannot run."""
    grid: tuple[int, ...] = ()
    """Budgets to try beside the own one."""
    refined: bool = False
    """Whether budgets off the grid may be tried."""
    own: bool = True
    """Whether the layouts are tried as they are."""


@dataclass(frozen=True)
class Contest:
    """What was found by the end, or by the time of Ctrl-C."""

    found: list[Found]
    edges: tuple[str, ...] = ()
    """Sentences on budgets that are best, and the last that were tried."""
    interrupted: bool = False


def hold(
    sides: Sequence[Side], question: Question, done: Callable[[int], None] = lambda _: None
) -> Contest:
    """Ask all sides; `done` counts layouts that are finished.

    After Ctrl-C returns what is finished; raises KeyboardInterrupt where nothing is.
    """
    everything: list[Found] = []

    def keep(found: Found) -> None:
        everything.append(found)
        done(len(everything))

    tunings = [_Tuning(side, lambda layouts: search(layouts, question, keep)) for side in sides]
    try:
        for tuning in tunings:
            tuning.start()
        for tuning in tunings:
            tuning.run()
    except KeyboardInterrupt:
        if not everything:
            raise
        return Contest(_ordered(everything), interrupted=True)
    edges = tuple(edge for tuning in tunings if (edge := tuning.edge()))
    return Contest(_ordered(everything), edges)


def most_layouts(sides: Sequence[Side]) -> int:
    """How many layouts are asked, unless one split beats another by turns."""
    between = 2 * round(math.log2(1 / CLOSE))
    return sum(
        len(side.layouts) * (1 + (len(side.layouts) > 1)) + len(side.grid) + side.refined * between
        for side in sides
    )


def _ordered(found: Sequence[Found]) -> list[Found]:
    """Aggregated engines, then splits, each by numbers and budget: in whatever order they ended."""
    return sorted(found, key=lambda item: _place(item.layout))


def _place(layout: Layout) -> tuple[bool, int, str, int]:
    variants = "" if layout.prefill else layout.deployment.accelerator.name
    return not layout.aggregated, layout.prefill, variants, layout.tokens


class _Tuning:
    """The budgets of one side. A key is the position of a layout in the side, and a budget."""

    def __init__(self, side: Side, ask: Callable[[Sequence[Layout]], list[Found]]) -> None:
        self.side, self.ask = side, ask
        self.engines: dict[int, Engines | None] = {}
        self.found: dict[Key, Found] = {}

    def start(self) -> None:
        """Ask all layouts as they are, or with the smallest budget."""
        own, grid = self.side.own, self.side.grid
        places = enumerate(self.side.layouts)
        self._ask([(place, layout.tokens if own else grid[0]) for place, layout in places])

    def run(self) -> None:
        """Tune the best layout, and try all others with its budget, until it stays the best."""
        place = None
        while (best := self._best(self.found)[0]) != place:
            place = best
            self._ask([(place, tokens) for tokens in self.side.grid])
            if self.side.refined:
                self._refine(place)
            tokens = self._best(self.found)[1]
            self._ask([(other, tokens) for other in range(len(self.side.layouts))])

    def edge(self) -> str:
        """Say where the best budget is the last one tried, and better than the one before."""
        place, tokens = key = self._best(self.found)
        tried = self._tried(place)
        if len(tried) < 2 or tokens not in (tried[0], tried[-1]):
            return ""
        low = tokens == tried[0]
        inner = self.found[place, tried[1] if low else tried[-2]]
        if self.found[key].goodput <= inner.goodput * (1 + STEP):
            return ""
        end, more = ("smallest", "smaller") if low else ("largest", "larger")
        return (
            f"{self.side.layouts[place].kind}: best with {tokens} tokens an iteration, the {end} "
            f"budget tried; {more} ones may carry more ({self.side.flag})"
        )

    def _ask(self, wanted: Sequence[Key]) -> None:
        """Ask for what was not asked before and can run."""
        new = {key: self._layout(key) for key in wanted if key not in self.found}
        layouts = {key: layout for key, layout in new.items() if layout is not None}
        self.found |= zip(layouts, self.ask(list(layouts.values())), strict=True)

    def _layout(self, key: Key) -> Layout | None:
        place, tokens = key
        layout = self.side.layouts[place]
        if tokens == layout.tokens:
            return layout
        if tokens not in self.engines:
            self.engines[tokens] = self.side.engines(tokens)
        engines = self.engines[tokens]
        return None if engines is None else resized(layout, engines)

    def _refine(self, place: int) -> None:
        """Try budgets half way to both neighbours of the best one, until these lie close."""
        asked: set[int] = set()
        while True:
            tried = self._tried(place)
            at = tried.index(self._best([key for key in self.found if key[0] == place])[1])
            gaps = pairwise(tried[max(at - 1, 0) : at + 2])
            middles = {(low + high) // 2 for low, high in gaps if high - low > CLOSE * high}
            if not middles - asked:
                return
            self._ask([(place, tokens) for tokens in sorted(middles - asked)])
            asked |= middles

    def _best(self, keys: Iterable[Key]) -> Key:
        """The best key; of equal ones that with the smallest budget."""
        return max(keys, key=lambda key: (self.found[key].standing, -key[1]))

    def _tried(self, place: int) -> list[int]:
        """Budgets of one layout, ascending."""
        return sorted(tokens for other, tokens in self.found if other == place)
