"""What the study leaves behind: a table, JSON, a figure and a page; and its table in print."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from servetwin.errors import counted
from servetwin.results import Slo
from servetwin.studies.pool_split.limits import PARTS, REJECTED
from servetwin.studies.pool_split.search import STEP, Found, Trial
from servetwin.studies.pool_split.tuning import Contest
from servetwin.studies.pool_split.verdict import best_of, limited_by, objectives, verdict

__all__ = ["NAMES", "describe", "print_pools", "write_pools"]

SCHEMA = "servetwin.pools/1"
NAMES = ("pools.csv", "pools.png", "pools.html", "pools.json")
"""The last marks the others as complete."""

HEADS = ("deployment", "goodput", "TTFT s", "TPOT ms", "$/h", "limited by")
PRICE = HEADS.index("$/h")
NONE = "-"


def describe(contest: Contest, slo: Slo, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of pools.json.

    `about` holds `provenance`, `config`, `workload` and `notes`, as in a summary.
    """
    found = contest.found
    refused = max((item.best.rejected for item in found if item.best), default=0)
    notes = [note for item in found for note in item.notes]
    notes += [f"{counted(refused, 'request')} rejected: meets no objective"] if refused else []
    shown = {item.layout.name for item in _shown(found)}
    return {
        "schema": SCHEMA,
        "kind": "simulated",
        **{name: about[name] for name in ("provenance", "config", "workload")},
        "slo": {**{f"{name}_s": ps / 1e12 for name, ps in slo.limits.items()}, "p": slo.share},
        "objectives": objectives(slo),
        "rate_step": STEP,
        "interrupted": contest.interrupted,
        "best_split": _best_name(found, aggregated=False),
        "best_aggregated": _best_name(found, aggregated=True),
        "layouts": [{**_row(item), "shown": item.layout.name in shown} for item in found],
        "verdict": verdict(contest),
        "notes": list(dict.fromkeys((*about["notes"], *notes))),
    }


def _best_name(found: Sequence[Found], *, aggregated: bool) -> str | None:
    best = best_of(found, aggregated)
    return None if best is None else best.layout.name


def _shown(found: Sequence[Found]) -> list[Found]:
    """Each number of engines with the budget that is best for it, and aggregated ones untuned."""
    best: dict[tuple[str, str], Found] = {}
    untuned = []
    for item in found:
        layout = item.layout
        kind = layout.kind, layout.deployment.accelerator.name
        if kind not in best or item.standing > best[kind].standing:
            best[kind] = item
        if layout.aggregated and not layout.tuned:
            untuned.append(item)
    return [*best.values(), *untuned]


def _row(found: Found) -> dict[str, Any]:
    """Plain values of a layout; None for what does not exist."""
    layout, best, beyond = found.layout, found.best, found.beyond
    return {
        "layout": layout.name,
        "kind": "aggregated" if layout.aggregated else "pools",
        "prefill_engines": layout.prefill,
        "decode_engines": layout.decode,
        "max_num_batched_tokens": layout.tokens,
        "devices": layout.deployment.devices,
        "usd_per_hour": layout.price,
        "rate_rps": best and best.rate,
        "goodput_rps": found.goodput,
        "met": best and best.met["all"],
        "ttft_s": best and best.latencies.get("ttft"),
        "tpot_s": best and best.latencies.get("tpot"),
        "rejected": best and best.rejected,
        "preemptions": best and best.preemptions,
        "limited_by": limited_by(found),
        **_beyond(beyond),
    }


def _beyond(trial: Trial | None) -> dict[str, Any]:
    """The lowest rate that fails, with the shares that the limiting time consists of."""
    parts = {} if trial is None else trial.limit.parts
    met = {} if trial is None else trial.met
    return {
        "failing_rate_rps": trial and trial.rate,
        **{f"failing_met_{name}": met.get(name) for name in ("ttft", "tpot", "e2e", "all")},
        **{f"failing_{name}": parts.get(name) for name in PARTS if name != REJECTED},
        f"failing_{REJECTED}": trial and trial.limit.rejected,
    }


def write_pools(content: Mapping[str, Any], out: Path) -> None:
    """Write NAMES to the folder; all of them, or InputError and none."""
    from servetwin.report.figures import save
    from servetwin.results.output import Writer, write_together
    from servetwin.results.summary import to_json

    chart, page = _chart(content), _page(content)
    writers: dict[str, Writer] = {
        "pools.csv": lambda path: _write_csv(content["layouts"], path),
        "pools.png": lambda path: save(chart, path),
        "pools.html": lambda path: path.write_text(page, encoding="utf-8"),
        "pools.json": lambda path: path.write_text(to_json(dict(content)) + "\n", encoding="utf-8"),
    }
    write_together(out, writers, ())


def _chart(content: Mapping[str, Any]) -> Any:
    from servetwin.report.pool_figures import goodput_bars

    rows = [
        {
            **{name: row[name] for name in ("layout", "kind", "goodput_rps", "limited_by")},
            "shown": f"{row['goodput_rps']:.3g}" if row["goodput_rps"] else "none",
        }
        for row in content["layouts"]
        if row["shown"]
    ]
    return goodput_bars(rows, _title(content), f"{_source(content)}; {content['objectives']}")


def _title(content: Mapping[str, Any]) -> str:
    config = content["config"]
    decode = config.get("decode_gpu")
    other = f", decode on {decode}" if decode not in (None, config["gpu"]) else ""
    return f"{config['model'].rpartition('/')[2]}, {config['gpu']}, tp {config['tp']}{other}"


def _source(content: Mapping[str, Any]) -> str:
    workload = content["workload"]
    name = Path(str(workload.get("dataset") or workload.get("source"))).name
    return f"{name}, {workload['requests']:,} requests"


def _page(content: Mapping[str, Any]) -> str:
    from servetwin.report.page import (
        NO_SCRIPT,
        columns,
        drawn,
        flat,
        framed,
        notes,
        pairs,
        section,
        specs_of,
        table,
    )

    specs = specs_of({"pools": _chart(content)})
    settings, workload, provenance = (
        pairs(flat(content[name])) for name in ("config", "workload", "provenance")
    )
    body = (
        notes(content["verdict"]),
        section(_says(content), table(HEADS, _cells(content))),
        NO_SCRIPT,
        drawn("Goodput", specs),
        notes(content["notes"]),
        columns(
            section("Settings of the pools", settings),
            section("Workload", workload) + section("Provenance", provenance),
        ),
    )
    return framed(f"Pools: {_title(content)}", body, specs)


def _says(content: Mapping[str, Any]) -> str:
    return f"{_title(content)}: {content['objectives']}"


def _cells(content: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            row["layout"],
            _number(row["goodput_rps"] or None),
            _number(row["ttft_s"]),
            _number(row["tpot_s"], 1e3),
            NONE if row["usd_per_hour"] is None else f"{row['usd_per_hour']:.2f}",
            row["limited_by"],
        )
        for row in content["layouts"]
        if row["shown"]
    ]


def _prices(content: Mapping[str, Any]) -> set[str]:
    return {row[PRICE] for row in _cells(content)}


def _number(value: float | None, factor: float = 1.0) -> str:
    return NONE if value is None else f"{value * factor:.3g}"


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def print_pools(content: Mapping[str, Any], console: Any) -> None:
    """Print table, verdict and notes; 80 columns are enough."""
    from rich.table import Table

    console.print(_title(content), style="bold", markup=False)
    prices = _prices(content)
    shown = [index for index in range(len(HEADS)) if index != PRICE or len(prices) > 1]
    each = f"; {prices.pop()} $/h" if len(prices) == 1 and prices != {NONE} else ""
    console.print(f"{_source(content)}; {content['objectives']}{each}\n", markup=False)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for index in shown:
        text = index in (0, len(HEADS) - 1)
        justify: Any = "left" if text else "right"
        table.add_column(HEADS[index], justify=justify, no_wrap=index != len(HEADS) - 1)
    best = {content["best_split"], content["best_aggregated"]}
    for row in _cells(content):
        cells = [row[index] for index in shown]
        table.add_row(*cells, style="bold" if row[0] in best else "")
    console.print(table)
    for line in ("", _legend(content)):
        console.print(line, markup=False)
    console.print("", *content["verdict"], sep="\n", markup=False)
    for note in content["notes"]:
        console.print(f"Note: {note}", markup=False)


def _legend(content: Mapping[str, Any]) -> str:
    share = content["slo"]["p"] * 100
    tried = sorted({row["max_num_batched_tokens"] for row in content["layouts"]})
    tuned = ""
    if len(tried) > 1:
        tuned = (
            "; (n): tokens an iteration may process, where the engines' own budget is not best; "
            f"{tried[0]:,} to {tried[-1]:,} were tried"
        )
    rates = "of those named" if content["config"].get("rates") else f"rates lie {STEP:.1%} apart"
    return (
        f"goodput: requests/s within the objectives, at the highest rate that meets them "
        f"({rates}); TTFT, TPOT: what {share:g} % stay within there; limited by: what "
        f"gives way at the next rate{tuned}."
    )
