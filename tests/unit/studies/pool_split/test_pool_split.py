"""Splits of one budget, the highest rate of each, and what stops it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_link
from servetwin.cost import derive
from servetwin.errors import InputError
from servetwin.results import Slo, parse_slo
from servetwin.results.latencies import latencies_ps
from servetwin.results.slo import count_met
from servetwin.sim import SimOptions, simulate
from servetwin.studies.fidelity.points import deploy, in_pools
from servetwin.studies.pool_split import limits
from servetwin.studies.pool_split.layouts import Engines, Layout, layouts_of
from servetwin.studies.pool_split.search import STEP, Found, Question, search
from servetwin.studies.pool_split.tuning import Contest
from servetwin.studies.pool_split.verdict import best_of, limited_by, verdict
from servetwin.types import RequestTable, Workload
from servetwin.workload import at_rate, parse_arrivals
from servetwin.workload.generate import GeneratorSpec, generate
from servetwin.workload.lengths import Uniform

MODEL = "meta-llama/Llama-3.1-8B"
SLO = parse_slo("ttft=1s,tpot=40ms,p=0.9")
OPTIONS = SimOptions(snapshot_interval=0, token_gaps=False)


def engines(gpu: str = "A100-80GB", other: str = "A100-80GB") -> tuple[Engines, Engines]:
    """One aggregated engine, and one of each pool."""
    one, two = (deploy(MODEL, name, max_model_len=8192) for name in (gpu, other))
    pools = in_pools(one, two, find_link("InfiniBand-NDR"))
    return Engines(one, derive(one, 1000)), Engines(pools, derive(pools, 1000))


def requests(count: int = 400) -> Workload:
    spec = GeneratorSpec(
        count, Uniform(100, 3000), Uniform(10, 200), parse_arrivals("poisson", 1.0), seed=7
    )
    return generate(spec)


def question(slo: Slo = SLO, rates: tuple[float, ...] = ()) -> Question:
    workload = requests()
    return Question(lambda rate: at_rate(workload, rate), slo, 4, OPTIONS, rates)


@pytest.fixture(scope="module")
def found() -> list[Found]:
    whole, pools = engines()
    return search(layouts_of(whole, pools, 4), question())


def share(layout: Layout, rate: float) -> float:
    """Simulated here, with nothing of the study: the share of requests that meets all."""
    table = simulate(layout.deployment, at_rate(requests(), rate), layout.cost, OPTIONS).requests
    ttft, tpot = (table.first_token - table.arrival), np.zeros(len(table))
    more = table.output_tokens > 1
    tpot[more] = (table.finish - table.first_token)[more] / (table.output_tokens[more] - 1)
    return float(np.mean((ttft <= SLO.limits["ttft"]) & (tpot <= SLO.limits["tpot"])))


def test_splits_of_equal_engines() -> None:
    whole, pools = engines()
    layouts = layouts_of(whole, pools, 4)
    assert [layout.name for layout in layouts] == [
        "4 aggregated",
        "1 prefill + 3 decode",
        "2 prefill + 2 decode",
        "3 prefill + 1 decode",
    ]
    assert {layout.deployment.devices for layout in layouts} == {4}
    assert {layout.price for layout in layouts} == {4 * 1.95}
    assert [layout.aggregated for layout in layouts] == [True, False, False, False]


def test_splits_of_unequal_engines_cost_at_most_the_same() -> None:
    whole, pools = engines("H100-SXM", "A100-80GB")
    layouts = layouts_of(whole, pools, 4)
    budget = 4 * 3.99
    assert [layout.name for layout in layouts] == [
        "4 aggregated",
        "8 aggregated (A100-80GB)",
        "1 prefill + 6 decode",
        "2 prefill + 4 decode",
        "3 prefill + 2 decode",
    ]
    for layout in layouts:
        assert layout.price is not None
        assert budget - 1.95 < layout.price <= budget + 1e-9  # no further engine fits


def test_prices_are_needed_only_where_engines_differ() -> None:
    assert layouts_of(engines("H20")[0], engines("H20", "H20")[1], 2)[0].price is None
    whole, pools = engines("A100-80GB", "H20")
    with pytest.raises(InputError, match="H20: the catalog has no price"):
        layouts_of(whole, pools, 4)


def test_one_engine_cannot_be_split() -> None:
    with pytest.raises(InputError, match="1 engine: too few"):
        layouts_of(engines()[0], engines()[1], 1)


def test_money_that_does_not_buy_both_is_named_as_the_cause() -> None:
    whole, pools = engines(other="H100-SXM")
    with pytest.raises(InputError, match="does not buy one of them and a decode engine") as told:
        layouts_of(whole, pools, 1)
    needed = int(str(told.value).split("--engines ")[2].split()[0])
    with pytest.raises(InputError, match="does not buy"):
        layouts_of(whole, pools, needed - 1)
    assert any(layout.prefill for layout in layouts_of(whole, pools, needed))


def test_the_best_rate_meets_and_the_next_does_not(found: list[Found]) -> None:
    for item in found:
        assert item.best is not None
        assert item.beyond is not None
        assert item.beyond.rate / item.best.rate - 1 == pytest.approx(STEP)
        assert share(item.layout, item.best.rate) == item.best.met["all"] >= SLO.share
        assert share(item.layout, item.beyond.rate) == item.beyond.met["all"] < SLO.share
        assert item.goodput == item.best.rate * item.best.met["all"]


def test_equal_questions_get_equal_answers(found: list[Found]) -> None:
    whole, pools = engines()
    again = search(layouts_of(whole, pools, 4), question())
    assert [(item.best, item.beyond) for item in again] == [
        (item.best, item.beyond) for item in found
    ]


def test_given_rates_are_the_only_ones() -> None:
    whole, pools = engines()
    asked = question(rates=(1.0, 2.0, 500.0))
    rates = [
        (item.best and item.best.rate, item.beyond and item.beyond.rate)
        for item in search(layouts_of(whole, pools, 4), asked)
    ]
    assert set(rates) == {(2.0, 500.0)}
    [low, *_] = search(layouts_of(whole, pools, 4), question(rates=(1.0,)))
    assert low.beyond is None
    assert limited_by(low) == ""
    items = search(layouts_of(whole, pools, 4), question(rates=(1.0,)))
    assert verdict(Contest(items))[0].startswith("No best is known: ")
    items = search(layouts_of(whole, pools, 4), asked)
    assert "at the rates that were tried" in verdict(Contest(items))[0]


def test_objectives_nobody_meets_have_no_rate() -> None:
    whole, pools = engines()
    items = search(layouts_of(whole, pools, 4), question(parse_slo("ttft=1us")))
    assert {item.best for item in items} == {None}
    assert {item.goodput for item in items} == {0.0}
    assert verdict(Contest(items))[0] == "At no rate does any deployment meet the objectives."
    assert limited_by(items[0]) == "TTFT: own prompt"


def test_objectives_everybody_meets_are_refused() -> None:
    whole, pools = engines()
    with pytest.raises(InputError, match="nothing limits it"):
        search(layouts_of(whole, pools, 4), question(parse_slo("ttft=9000s")))


def table(name: str, rate: float = 30.0) -> RequestTable:
    whole, pools = engines()
    layouts = layouts_of(whole, pools, 4)
    layout = next(item for item in layouts if item.name == name)
    workload = at_rate(requests(), rate)
    return simulate(layout.deployment, workload, layout.cost, OPTIONS).requests


@pytest.mark.parametrize("name", ["4 aggregated", "2 prefill + 2 decode"])
def test_parts_add_up_to_the_latency(name: str) -> None:
    rows = table(name)
    assert not rows.preemptions.any()
    every = np.ones(len(rows), bool)
    for metric, end, start in (
        ("ttft", rows.first_token, rows.arrival),
        ("tpot", rows.finish, rows.first_token),
        ("e2e", rows.finish, rows.arrival),
    ):
        parts = limits._parts(rows, metric, every)
        assert sum(parts.values()) == pytest.approx(float((end - start).mean()), rel=1e-12)
        assert min(parts.values()) >= 0
        assert set(parts) <= set(limits.PARTS)


@pytest.mark.parametrize("name", ["4 aggregated", "2 prefill + 2 decode"])
def test_requests_that_miss_are_those_that_are_not_counted(name: str) -> None:
    rows = table(name)
    middle = {m: int(np.median(latencies_ps(rows, m))) for m in ("ttft", "tpot", "e2e")}
    met = count_met(rows, Slo(**middle))
    for metric, limit in middle.items():
        assert met[metric] == len(rows) - limits._missed(rows, metric, limit).sum()


def test_the_limit_is_what_fewest_meet() -> None:
    tight = limits.limit_of(table("4 aggregated"), parse_slo("ttft=1000s,tpot=1us"))
    assert tight.name == "tpot"
    assert sum(tight.parts.values()) == pytest.approx(1.0)
    assert tight.cause in ("decode", "others_prefill")
    assert limits.limit_of(table("4 aggregated"), parse_slo("ttft=1000s")).cause == ""


def test_the_verdict_names_winner_and_reasons(found: list[Found]) -> None:
    winner = max(found, key=lambda item: item.goodput)
    first, *why = verdict(Contest(found))
    assert first.startswith(f"Best: {winner.layout.name}, {winner.goodput:.3g} requests/s")
    for aggregated in (True, False):
        best = best_of(found, aggregated)
        assert best is not None
        assert best.layout.aggregated == aggregated
        assert any(line.startswith(f"{best.layout.name} at ") for line in why)


def scaled(item: Found, factor: float) -> Found:
    assert item.best is not None
    return replace(item, best=replace(item.best, rate=item.best.rate * factor))


def test_the_verdict_says_how_much_more(found: list[Found]) -> None:
    whole, split = found[0], found[2]
    assert split.goodput
    assert whole.goodput
    same = scaled(split, whole.goodput / split.goodput)
    assert "the distance of two rates, as much as" in verdict(Contest([whole, same]))[0]
    assert (
        ": 50% more than 4 aggregated, the best aggregated deployment"
        in (verdict(Contest([whole, scaled(same, 1.5)]))[0])
    )
    assert (
        ": 3.0 times as much as 2 prefill + 2 decode, the best split"
        in (verdict(Contest([scaled(whole, 3.0), same]))[0])
    )
    nothing = replace(split, best=None)
    assert "no split meets them at any rate" in verdict(Contest([whole, nothing]))[0]
