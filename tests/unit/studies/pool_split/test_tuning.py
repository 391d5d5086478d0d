"""The search for a budget of tokens, over landscapes that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import find_link
from servetwin.cost import derive
from servetwin.results import parse_slo
from servetwin.sim import SimOptions
from servetwin.studies.fidelity.points import deploy, in_pools
from servetwin.studies.pool_split import tuning
from servetwin.studies.pool_split.layouts import Engines, Layout, layouts_of
from servetwin.studies.pool_split.limits import Limit
from servetwin.studies.pool_split.search import Found, Question, Trial
from servetwin.studies.pool_split.tuning import Contest, Side, hold, most_layouts
from servetwin.studies.pool_split.verdict import best_of, verdict

GRID = tuple(2**power for power in range(7, 15))
OWN = 2048

Height = Callable[[Layout], float]


def engines(tokens: int = OWN) -> tuple[Engines, Engines]:
    """One aggregated engine and one of each pool, whose prefill engine has a budget."""
    name, gpu = "meta-llama/Llama-3.1-8B", "A100-80GB"
    one = deploy(
        name, gpu, max_model_len=8192, max_num_batched_tokens=tokens, max_num_seqs=min(tokens, 256)
    )
    other = deploy(name, gpu, max_model_len=8192)
    pools = in_pools(one, other, find_link("InfiniBand-NDR"))
    return Engines(one, COST), Engines(pools, COST)


COST = derive(deploy("meta-llama/Llama-3.1-8B", "A100-80GB", max_model_len=8192), 1000)
WHOLE, *SPLITS = layouts_of(*engines(), 4)
QUESTION = Question(
    lambda _: pytest.fail("no simulation here"), parse_slo("ttft=1s"), 4, SimOptions()
)


def aggregated(**changes: object) -> Side:
    side = Side((WHOLE,), "--aggregated-tokens", lambda n: engines(n)[0], GRID, refined=True)
    return replace(side, **changes)  # type: ignore[arg-type]  # fields by name


def splits(**changes: object) -> Side:
    side = Side(tuple(SPLITS), "--prefill-tokens", lambda n: engines(n)[1], GRID, refined=True)
    return replace(side, **changes)  # type: ignore[arg-type]  # fields by name


@dataclass
class Landscape:
    """Stands in for simulations: the rate of every layout is known."""

    height: Height
    asked: list[str] = field(default_factory=list)
    patience: int = 10**6
    """Layouts until Ctrl-C."""

    def search(
        self, layouts: Sequence[Layout], _: Question, done: Callable[[Found], None]
    ) -> list[Found]:
        found = []
        for layout in layouts:
            if len(self.asked) == self.patience:
                raise KeyboardInterrupt
            self.asked.append(layout.name)
            rate = self.height(layout)
            trial = Trial(rate, {"ttft": 1.0, "all": 1.0}, {}, 0, 0, Limit("ttft", {}))
            found.append(Found(layout, trial if rate else None, None))
            done(found[-1])
        return found


def holding(monkeypatch: pytest.MonkeyPatch, land: Landscape, *sides: Side) -> Contest:
    monkeypatch.setattr(tuning, "search", land.search)
    return hold(sides, QUESTION)


def best(contest: Contest, aggregated: bool = True) -> Found:
    found = best_of(contest.found, aggregated)
    assert found is not None
    return found


def flat(_: Layout) -> float:
    return 7.0


@given(top=st.integers(128, 16384), cliff=st.booleans())
def test_the_best_budget_is_found_up_to_a_sixteenth(top: int, cliff: bool) -> None:
    """Rising to `top`, and then falling, or falling off."""

    def height(layout: Layout) -> float:
        beyond = max(layout.tokens - top, 0)
        return min(layout.tokens, top) / (3 if cliff and beyond else 1) - beyond / 10 + 2000

    with pytest.MonkeyPatch.context() as patch:
        land = Landscape(height)
        contest = holding(patch, land, aggregated())
    tokens = best(contest).layout.tokens
    assert tokens <= top or not cliff
    assert abs(tokens - top) <= top / 16 + 1
    assert len(set(land.asked)) == len(land.asked) <= most_layouts([aggregated()])


def test_on_a_plain_the_own_budget_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    contest = holding(monkeypatch, Landscape(flat), aggregated())
    assert best(contest).layout.tokens == OWN
    assert contest.edges == ()


@pytest.mark.parametrize(
    ("height", "tokens", "words"),
    [
        (lambda layout: 1e6 / layout.tokens, 128, "the smallest budget tried; smaller ones may"),
        (lambda layout: layout.tokens, 16384, "the largest budget tried; larger ones may"),
    ],
)
def test_an_edge_is_named(
    height: Height, tokens: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = holding(monkeypatch, Landscape(height), aggregated())
    assert best(contest).layout.tokens == tokens
    [line] = contest.edges
    assert line.startswith(f"4 aggregated: best with {tokens} tokens an iteration, {words}")
    assert line.endswith("(--aggregated-tokens)")
    assert line in verdict(contest)


def test_an_edge_that_is_no_better_than_its_neighbour_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land = Landscape(lambda layout: 7.0 + layout.tokens / 1e6)
    assert holding(monkeypatch, land, aggregated()).edges == ()


def test_splits_find_the_best_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untuned, 1 prefill engine is best; tuned, 3 are: prompts gain from larger budgets."""

    def height(layout: Layout) -> float:
        tuned = min(layout.tokens, 5000) / 5000 * layout.prefill
        return tuned * 10 + (12 if layout.prefill == 1 else 0)

    land = Landscape(height)
    contest = holding(monkeypatch, land, splits())
    found = best(contest, aggregated=False).layout
    assert (found.prefill, found.decode) == (3, 1)
    assert 5000 <= found.tokens <= 5000 * 17 / 16
    by_count = {item.layout.prefill for item in contest.found if item.layout.tokens == found.tokens}
    assert by_count == {1, 2, 3}
    assert len(set(land.asked)) == len(land.asked)


def test_the_budget_is_of_the_prefill_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    contest = holding(monkeypatch, Landscape(flat), splits(grid=(128,), refined=False))
    for item in contest.found:
        prefill, decode = item.layout.deployment.pools
        assert prefill.settings.max_num_batched_tokens == item.layout.tokens
        assert decode.settings.max_num_batched_tokens == OWN
        assert (prefill.replicas, decode.replicas) == (item.layout.prefill, item.layout.decode)
    assert {item.layout.tokens for item in contest.found} == {128, OWN}


def test_budgets_that_cannot_run_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    side = aggregated(engines=lambda tokens: engines(tokens)[0] if tokens < 4096 else None)
    contest = holding(monkeypatch, Landscape(lambda layout: layout.tokens), side)
    assert best(contest).layout.tokens == max(item.layout.tokens for item in contest.found) < 4096
    assert "the largest budget tried" in contest.edges[0]


def test_named_budgets_are_the_only_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    named = aggregated(grid=(256, 1024), refined=False, own=False)
    contest = holding(monkeypatch, Landscape(lambda layout: layout.tokens), named)
    assert [item.layout.name for item in contest.found] == [
        "4 aggregated (256)",
        "4 aggregated (1024)",
    ]


def test_ctrl_c_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    land = Landscape(lambda layout: layout.tokens, patience=6)
    contest = holding(monkeypatch, land, aggregated(), splits())
    assert contest.interrupted
    assert sorted(item.layout.name for item in contest.found) == sorted(land.asked)
    assert {item.layout.name for item in contest.found} >= {
        item.name for item in (WHOLE, *SPLITS)
    }, "all deployments come before any budget"
    assert verdict(contest)[0] == "Interrupted after 6 deployments: better ones may be missing."
    with pytest.raises(KeyboardInterrupt):
        holding(monkeypatch, Landscape(flat, patience=0), aggregated())


def test_rows_have_an_order_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    land = Landscape(lambda layout: layout.tokens % 1000 + layout.prefill)
    found = holding(monkeypatch, land, aggregated(), splits()).found
    keys = [(item.layout.prefill, item.layout.tokens) for item in found]
    assert keys == sorted(keys)
