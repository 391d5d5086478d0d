"""Charts of Kavier's experiments hold the rows they were given, with axes and legends."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.report import kavier_cache_figures, kavier_figures


def parts(content: Any, key: str) -> list[Any]:
    """Every value of `key`, wherever it stands in the chart."""
    if isinstance(content, dict):
        found = [content[key]] if key in content else []
        return found + [item for value in content.values() for item in parts(value, key)]
    if isinstance(content, list):
        return [item for value in content for item in parts(value, key)]
    return []


def titles(chart: Any) -> set[str]:
    found = parts(chart.to_dict(), "title")
    return {title if isinstance(title, str) else title["text"] for title in found if title}


POINTS = [
    {
        "reading": "labelled",
        "tokens": tokens,
        "measured_s": 0.04 * tokens,
        "kavier_s": 0.05 * tokens,
        "servetwin_s": 0.041 * tokens,
    }
    for tokens in (64, 128)
]


def test_accuracy_shows_times_a_token_and_errors() -> None:
    chart = kavier_figures.accuracy("decode", POINTS, "fitted so")
    rows = [row for rows in chart.to_dict()["datasets"].values() for row in rows if "form" in row]
    times = {row["form"]: row["ms"] for row in rows if row["tokens"] == 64}
    assert times == pytest.approx({"measured": 40, "kavier": 50, "servetwin": 41})
    errors = {row["form"]: row["error"] for row in rows if row["tokens"] == 128}
    assert errors == pytest.approx({"measured": 0, "kavier": 0.25, "servetwin": 0.025})
    axes = {"output tokens (log)", "ms per output token", "error of the prediction"}
    assert axes <= titles(chart)
    assert "tokens (log)" not in titles(chart)


def test_a_second_reading_adds_its_own_panels() -> None:
    both = [*POINTS, *({**row, "reading": "counted"} for row in POINTS)]
    found = titles(kavier_figures.accuracy("decode", both, ""))
    assert {"Error, labelled", "Error, counted"} <= found


def rate(seconds: float, published: float | None) -> dict[str, Any]:
    return {
        "export_rate_s": seconds,
        "fragments": 10,
        "wall_s": 2.0,
        "memory_s": 1.0,
        "published_s": published,
    }


def test_the_published_curve_is_left_out_where_there_is_none() -> None:
    for published, expected in ((9.0, 3), (None, 2)):
        content = kavier_figures.export_cost(
            [rate(1.0, published), rate(0.1, published)], "2 requests"
        ).to_dict()
        (rows,) = content["datasets"].values()
        names = {row["series"] for row in rows}
        assert len(names) == expected
        domains = parts(content, "domain")
        assert all(set(domain) == names for domain in domains if isinstance(domain[0], str))
        first, *others = content["title"]["subtitle"]
        assert first == "2 requests"
        assert [line.startswith("published") for line in others] == [True] * bool(published)


@pytest.mark.parametrize(("values", "first", "last"), [([30, 180], 50, 200), ([90, 9e5], 100, 1e6)])
def test_ticks_lie_within_the_scale(values: list[float], first: float, last: float) -> None:
    found = kavier_figures.decades(values)
    ticks = found["axis"].to_dict()["values"]
    low, high = found["scale"].to_dict()["domain"]
    assert low < min(values)
    assert high > max(values)
    assert (ticks[0], ticks[-1]) == (first, last)


def test_power_over_time_has_all_models_and_the_meta_model() -> None:
    names = ["sqrt", "linear"]
    row = {"sqrt": 3.0, "linear": 2.0, "meta": 2.5, "low": 2.0, "high": 3.0}
    bands = {kv: [{"t_s": at, **row} for at in (0.0, 1.0)] for kv in ("on", "off")}
    content = kavier_cache_figures.power_over_time(bands, names, "").to_dict()
    order = ["sqrt", "linear", "meta-model"]
    assert order in parts(content, "domain")
    assert {"KV cache on", "KV cache off", "watts of the GPU"} <= titles(
        kavier_cache_figures.power_over_time(bands, names, "")
    )


GREY = "grey: least and most of the eight power models, servetwin, 1024 tokens"


@pytest.mark.parametrize(
    ("values", "domain", "ticks"),
    [
        ([0.0, 0.0], [0, 1.05], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([3.1, 2.0], [0, 3.675], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
        ([0.118, -0.06], [-0.1125, 0.1625], [-0.1, -0.05, 0, 0.05, 0.1, 0.15]),
        ([-0.06], [-0.063, 0.003], [-0.06, -0.05, -0.04, -0.03, -0.02, -0.01, 0]),
        ([2e-5], [0, 2.1e-5], [0, 5e-6, 1e-5, 1.5e-5, 2e-5]),
    ],
)
def test_neither_labels_nor_symbols_reach_over_the_frame(
    values: list[float], domain: list[float], ticks: list[float]
) -> None:
    scale, found = kavier_figures.linear(values)
    assert found == pytest.approx(ticks)
    assert scale.to_dict()["domain"] == pytest.approx(domain)


def test_cache_sizes_are_in_the_order_of_numbers() -> None:
    performance = [
        {
            "prefix": "1024",
            "prompts": size,
            "hit_percent": 1.0,
            "published_hit_percent": None,
            "kavier_h": 2.0,
            "published_h": None,
            "servetwin_h": 3.0,
        }
        for size in ("16", "2", "8")
    ]
    power = {
        form: [
            {**row, "kwh": 1.0, "kwh_low": 0.5, "kwh_high": 2.0, "usd_per_million_tokens": None}
            for row in performance
        ]
        for form in ("kavier", "servetwin")
    }
    chart = kavier_cache_figures.prompt_caches(performance, power, "2 requests")
    assert ["2", "8", "16"] in parts(chart.to_dict(), "sort")
    assert chart.to_dict()["title"]["subtitle"] == ["2 requests", GREY]
    known = [{**row, "published_h": 2.0, "published_hit_percent": 1.0} for row in performance]
    beside = kavier_cache_figures.prompt_caches(known, power, "2 requests").to_dict()
    assert beside["title"]["subtitle"] == ["2 requests", f"rings: published; {GREY}"]
    # Without a price there is no panel of dollars.
    assert "Efficiency" not in titles(chart)
    for rows in power.values():
        rows[:] = [{**row, "usd_per_million_tokens": 0.1} for row in rows]
    assert "Efficiency" in titles(
        kavier_cache_figures.prompt_caches(performance, power, "2 requests")
    )
