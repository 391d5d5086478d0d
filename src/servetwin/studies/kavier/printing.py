"""The pages that `servetwin study kavier` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from servetwin.report.wording import formatted
from servetwin.studies.kavier.running import Done
from servetwin.studies.kavier.settings import NO_PREFIX_CACHE, Sweep

__all__ = ["show_efficiency", "show_runs"]

WIDTH = 80
HEADS = {
    "prefix_cache_min_tokens": "prefix",
    "max_cached_prompts": "prompts",
    "cache_scope": "scope",
    "prefix_cache_policy": "policy",
    "cache_variant": "variant",
    "export_rate": "rate",
    "flush_size": "flush",
    "kv_cache": "KV",
}
"""Shorter words for flags."""
FIGURES = ("prefill h", "decode h", "hits %", "fragments", "kWh", "real s")
"""Of each run of a sweep."""


def _console() -> Console:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    return console


def show_runs(
    sweep: Sweep, done: Sequence[Done], notes: Sequence[str], folder: Path | None
) -> None:
    """One run as a list of figures, several as one table."""
    console = _console()
    if len(done) == 1:
        _pairs(console, _title(done[0]), _figures(done[0].figures))
    else:
        _table(console, sweep, done)
    console.print()
    for note in notes:
        console.print(f"note: {note}", markup=False)
    if folder is not None:
        files = "tasks.parquet, fragments.parquet"
        if len(done) > 1:
            files = "a folder with tasks.parquet and fragments.parquet for each run"
        console.print(f"Written to {folder}/: {files}, summary.json", markup=False)


def _title(done: Done) -> str:
    run = done.run
    cache = "on" if run.kv_cache else "off"
    return f"{run.llm} on {run.gpu}, KV cache {cache}, formulas of {run.model}"


def _figures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("requests", f"{figures['requests']:,}"),
        ("tokens in, out", f"{figures['input_tokens']:,}, {figures['output_tokens']:,}"),
        ("prefill", _hours(figures["prefill_h"])),
        ("decode", _hours(figures["decode_h"])),
        ("prefill and decode", _hours(figures["total_h"])),
        ("latency, mean", f"{formatted(figures['latency_mean_s'], ',.3f')} s"),
        ("latency, 95 %", f"{formatted(figures['latency_p95_s'], ',.3f')} s"),
        ("prompt cache hits", f"{figures['cache_hits']:,} ({figures['hit_ratio']:.2%})"),
        ("fragments", f"{figures['fragments']:,}"),
        ("simulated time", f"{formatted(figures['simulated_s'], ',.0f')} s"),
        ("real time", f"{formatted(figures['wall_s'], ',.3f')} s"),
        ("simulated over real", f"{figures['simulated_over_real']:,.0f}"),
    ]
    return rows + _energy(figures["energy"])


def _energy(energy: dict[str, Any] | None) -> list[tuple[str, str]]:
    if energy is None:
        return []
    rows = [("energy", f"{formatted(energy['wh'] / 1000, ',.3f')} kWh")]
    million = energy["per_million_tokens"]
    rows.append(("energy, million tokens", f"{formatted(million['wh'], ',.2f')} Wh"))
    for name, unit, word in (("carbon_g", "gCO2e", "carbon"), ("usd", "$", "cost")):
        if energy[name] is not None:
            rows.append((word, f"{formatted(energy[name], ',.2f')} {unit}"))
            share = formatted(million[name], ",.4f")
            rows.append((f"{word}, million tokens", f"{share} {unit}"))
    return rows


def _hours(hours: float) -> str:
    return f"{hours:,.2f} h" if hours >= 0.1 else f"{formatted(hours * 3600, ',.3f')} s"


def _pairs(console: Console, title: str, rows: Sequence[tuple[str, str]]) -> None:
    console.print(title, style="bold", markup=False)
    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(console: Console, sweep: Sweep, done: Sequence[Done]) -> None:
    """One row a run: what varies, then hours, hits, fragments, energy and real time.

    Where that is too wide, two tables of numbered runs, one above the other.
    """
    first = done[0].run.described()
    fixed = [
        f"{name} {first[name]}" for name in ("llm", "gpu", "model") if name not in sweep.varied
    ]
    console.print(", ".join(fixed), style="bold", markup=False)
    numbers = [str(number) for number in range(1, len(done) + 1)]
    settings = [[_setting(run, name) for name in sweep.varied] for run in done]
    figures = [_row(run.figures) for run in done]
    heads = [HEADS.get(name, name) for name in sweep.varied]
    whole = _grid((*heads, *FIGURES), [[*a, *b] for a, b in zip(settings, figures, strict=True)])
    if _width(console, whole) <= console.width:
        console.print(whole)
        return
    for titles, rows in ((heads, settings), (FIGURES, figures)):
        numbered = [[number, *row] for number, row in zip(numbers, rows, strict=True)]
        console.print(_grid(("run", *titles), numbered))
        if titles is heads:
            console.print()


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Figures to the right, and only the path of a trace may be broken."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for head in heads:
        right = head in FIGURES or head == "run"
        table.add_column(
            head,
            justify="right" if right else "left",
            no_wrap=head != "trace",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _width(console: Console, table: Table) -> int:
    """Columns that a table takes where nothing is broken."""
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _row(figures: dict[str, Any]) -> list[str]:
    """The figures of one run, in the order of FIGURES."""
    energy = figures["energy"]
    return [
        formatted(figures["prefill_h"], ",.2f"),
        formatted(figures["decode_h"], ",.2f"),
        f"{100 * figures['hit_ratio']:.2f}",
        f"{figures['fragments']:,}",
        "-" if energy is None else formatted(energy["wh"] / 1000, ",.1f"),
        f"{figures['wall_s']:,.3f}",
    ]


def _setting(done: Done, name: str) -> str:
    """What varies, as a table shows it; without prefix cache neither of its sizes matters."""
    if name == "prefix_cache_min_tokens" and done.run.prefix_cache_min_tokens >= NO_PREFIX_CACHE:
        return "none"
    if name == "max_cached_prompts" and not done.run.caches_prefixes:
        return "-"
    return str(done.run.described()[name])


def show_efficiency(content: dict[str, Any], written: Sequence[Path]) -> None:
    """Totals, and figures for a million tokens."""
    console = _console()
    rows = [
        ("tasks", f"{content['tasks']:,}"),
        ("tokens", f"{content['tokens']:,}"),
        ("GPU hours", formatted(content["gpu_hours"], ",.3f")),
        ("tokens/s", f"{content['tokens_per_s']:,.1f}"),
        ("energy", _amount(content["energy_wh"], ",.2f", "Wh")),
        ("CO2", _amount(content["carbon_g"], ",.2f", "g")),
        ("energy, million tokens", _amount(content["wh_per_million_tokens"], ",.3f", "Wh")),
        ("CO2, million tokens", _amount(content["carbon_g_per_million_tokens"], ",.3f", "g")),
    ]
    if content["cost"] is not None:
        price = content["price_per_million_tokens"]
        rows.append((f"cost at ${content['price_per_hour']:g}/h", f"{content['cost']:,.4f} $"))
        rows.append(("cost, million tokens", f"{price:,.4f} $"))
    _pairs(console, "Efficiency", rows)
    for note in content["notes"]:
        console.print(f"note: {note}", markup=False)
    if written:
        names = ", ".join(str(path) for path in written)
        console.print(f"Written: {names}", markup=False, soft_wrap=True)


def _amount(value: float | None, specification: str, unit: str) -> str:
    return "-" if value is None else f"{formatted(value, specification)} {unit}"
