"""`servetwin study pools`: the split into prefill and decode pools that carries most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.options import PanelCommand, takes_settings

if TYPE_CHECKING:
    from servetwin.cli.settings import RunSettings
    from servetwin.studies.pool_split.layouts import Layout
    from servetwin.types import Workload

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PANELS = ("Deployment", "Engine", "Pools", "Workload", "Simulation")
DECIDED = ("replicas", "prefill_replicas", "decode_replicas", "rps", "sweep_rps")
"""What the study tries out."""
OTHERS = (
    "price",
    "carbon",
    "electricity_price",
    "pue",
    "snapshot_interval",
    "intervals",
    "reference",
)
"""Settings of a single run."""

DEFAULT_DEPLOYMENT = {"model": "meta-llama/Llama-3.1-70B", "gpu": "H100-SXM", "tp": "4"}
DEFAULT_ROUTER = "least-outstanding"
DEFAULT_WORKLOAD = {"workload": "azure-conv", "requests": "5000"}
DEFAULT_SLO = "ttft=1s,tpot=50ms"
USUAL_TOKENS = (512, 2048)
"""Smaller budgets of an iteration that aggregated engines are tried with beside their own."""
MOST_ENGINES = 256


@app.command(cls=PanelCommand)
@takes_settings(*PANELS, without=(*DECIDED, *OTHERS))
def pools(
    engines: Annotated[
        int,
        typer.Option(metavar="N", help="Aggregated engines; splits cost as much. [default: 8]"),
    ] = 8,
    rates: Annotated[
        str | None,
        typer.Option(metavar="RATE,…", help="Try these requests/s only; else any."),
    ] = None,
    aggregated_tokens: Annotated[
        str | None,
        typer.Option(
            metavar="N,…",
            help="max-num-batched-tokens of aggregated engines, each tried; else their own, "
            "and 512 and 2048.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in YAML, or of an earlier run.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print pools.json, alone.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write table, figure and page there.")
    ] = None,
    **flags: Any,
) -> None:
    """Find the split of N engines into prefill and decode pools with most goodput.

    Each split is compared with aggregated engines of equal cost. Without --model, --gpu, a
    workload or --slo: Llama-3.1-70B on 4 H100-SXM an engine, azure-conv, TTFT 1 s, TPOT 50 ms.
    Routers are least-outstanding unless named.

    \b
    servetwin study pools --model meta-llama/Llama-3.1-8B --gpu A100-80GB \\
        --trace AzureLLMInferenceTrace_conv.csv --slo ttft=500ms,tpot=50ms --out pools
    """
    from servetwin.cli.interrupts import at_once

    with at_once():
        content = _content(_settings(flags, config), engines, (rates, aggregated_tokens), out)
    if out is not None:
        from servetwin.studies.pool_split.writing import write_pools

        write_pools(content, out)
    _show(content, json, out)


def _settings(flags: dict[str, Any], config: Path | None) -> RunSettings:
    """The flags over the defaults of the study, without what it decides itself."""
    from servetwin.cli.console import warn
    from servetwin.cli.layers import load_settings
    from servetwin.cli.settings import RunSettings

    given = {name: value for name, value in flags.items() if value not in (None, [])}
    if config is None:
        if "model" not in given and "gpu" not in given and "engine_args" not in given:
            given = {**DEFAULT_DEPLOYMENT, **given}
        if not given.keys() & {"trace", "workload", "isl", "osl"}:
            given = {**DEFAULT_WORKLOAD, **given}
        given = {"router": DEFAULT_ROUTER, **given}
    loaded = load_settings(given, config)
    if loaded.unknown:
        warn(f"engine options without effect here: {', '.join(loaded.unknown)}")
    reset = {name: RunSettings.model_fields[name].default for name in DECIDED}
    return loaded.settings.model_copy(update=reset)


def _content(
    settings: RunSettings, engines: int, lists: tuple[str | None, str | None], out: Path | None
) -> dict[str, Any]:
    """Everything up to the files: read, search, describe."""
    from dataclasses import replace

    from servetwin.cli.build import check_inputs
    from servetwin.cli.console import command_line, progress
    from servetwin.cli.simulate import sim_options
    from servetwin.results import parse_slo
    from servetwin.studies.pool_split.search import Question, search
    from servetwin.studies.pool_split.writing import describe
    from servetwin.workload import at_rate, summarize

    _check(engines, out)
    rates = tuple(_numbers("--rates", lists[0], float)) if lists[0] else ()
    slo = parse_slo(_slo_text(settings))
    workload = _requests(settings)
    layouts, about = _layouts(settings, engines, lists[1], workload)
    for layout in layouts:
        check_inputs(workload, layout.deployment)
    with progress("Searching deployments", len(layouts)) as (tell, say):
        options = replace(sim_options(settings, interval=0), token_gaps=False, say=say)
        question = Question(lambda rate: at_rate(workload, rate), slo, engines, options, rates)
        found = search(layouts, question, tell)
    refused = max((item.best.rejected for item in found if item.best), default=0)
    about["provenance"] = {**about["provenance"], "command": command_line()}
    about["workload"] = {**summarize(workload), "rps": None, "span_s": None}
    about["notes"] = (*about["notes"], *workload.notes, *_refused(refused))
    return describe(found, slo, about)


def _check(engines: int, out: Path | None) -> None:
    from servetwin.errors import InputError
    from servetwin.results.output import check_targets
    from servetwin.studies.pool_split.writing import NAMES

    if not 2 <= engines <= MOST_ENGINES:
        raise InputError(f"--engines {engines}: must lie between 2 and {MOST_ENGINES}")
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    check_targets(out, NAMES)


def _requests(settings: RunSettings) -> Workload:
    """The requests at one a second; `at_rate` makes any other rate of them."""
    from servetwin.cli.build_workload import build_workload
    from servetwin.errors import InputError

    arrivals = settings.arrivals or ""
    if arrivals.startswith(("closed", "once")):
        raise InputError(
            f"--arrivals {arrivals}: sets its own rate; give an open process such as poisson"
        )
    workload = build_workload(settings.model_copy(update={"rps": 1.0}))
    if workload.closed_loop:
        raise InputError(
            f"{workload.name}: its sessions wait for answers, which sets the rate of most "
            "requests; give a trace in which every request has an arrival of its own"
        )
    return workload


def _refused(count: int) -> tuple[str, ...]:
    from servetwin.errors import counted

    return (f"{counted(count, 'request')} rejected: meets no objective",) if count else ()


def _slo_text(settings: RunSettings) -> str:
    parts = dict(part.split("=") for part in DEFAULT_SLO.split(","))
    given = settings.slo or {}
    if not given.keys() - {"p"}:
        given = {**parts, **given}
    return ",".join(f"{name}={value}" for name, value in given.items())


def _numbers(flag: str, text: str, kind: Any) -> list[Any]:
    """Numbers above 0 between commas, ascending. Raises InputError."""
    import math

    from servetwin.errors import InputError

    try:
        values = sorted({kind(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{flag} {text[:40]!r}: must be {what} above 0 between commas")
    return values


def _layouts(
    settings: RunSettings, engines: int, tokens: str | None, workload: Workload
) -> tuple[list[Layout], dict[str, Any]]:
    """Every layout, and what the result says about the settings of the pools."""
    from servetwin import __version__
    from servetwin.cli.build import build_deployment, resolved
    from servetwin.cli.pool_settings import PoolSettings
    from servetwin.studies.pool_split.layouts import layouts_of

    alone = {name: field.default for name, field in PoolSettings.model_fields.items()}
    both = settings.model_copy(update={"decode_replicas": 1})
    pools, notes = _engines(both, workload)
    whole, _ = _engines(settings.model_copy(update=alone), workload)
    kinds = [whole]
    for budget in _budgets(settings, tokens, whole.deployment.settings.max_num_batched_tokens):
        update = {**alone, "max_num_batched_tokens": budget}
        variant, _ = _engines(settings.model_copy(update=update), workload, str(budget))
        kinds.append(variant)
    if tokens is not None:
        kinds = kinds[1:]
    config = resolved(both, build_deployment(both)[0])
    config = {name: value for name, value in config.items() if name not in DECIDED}
    cost = pools.cost
    provenance = {
        "servetwin": __version__,
        "seed": settings.seed,
        "cost_model": {"level": cost.level, "source": cost.source},
    }
    about = {"config": {**config, "engines": engines}, "provenance": provenance, "notes": notes}
    return layouts_of(kinds, pools, engines), about


def _budgets(settings: RunSettings, tokens: str | None, own: int) -> list[int]:
    """Token budgets to try beside the engine's own."""
    if tokens is not None:
        return [int(value) for value in _numbers("--aggregated-tokens", tokens, int)]
    name = "max_num_batched_tokens"
    chosen = getattr(settings, name) is not None and name not in settings.defaulted
    if settings.scheduler != "vllm" or chosen:
        return []
    floor = settings.max_num_seqs or 1
    return [value for value in USUAL_TOKENS if floor <= value < own]


def _engines(settings: RunSettings, workload: Workload, variant: str = "") -> Any:
    """One engine of each pool with its cost, and notes."""
    from servetwin.cli.build import build_deployment, typical_context
    from servetwin.cli.costs import build_cost
    from servetwin.studies.pool_split.layouts import Engines

    deployment, notes = build_deployment(settings)
    context = typical_context(workload, deployment.settings.max_model_len)
    cost = build_cost(settings.cost, deployment, workload, context)
    return Engines(deployment, cost, variant), notes


def _show(content: dict[str, Any], json: bool, out: Path | None) -> None:
    from servetwin.cli.console import stdout
    from servetwin.results.summary import to_json
    from servetwin.studies.pool_split.writing import NAMES, print_pools

    if json:
        print(to_json(content))
        return
    print_pools(content, stdout())
    if out is not None:
        stdout().print(f"\nWritten to {out}/: {', '.join(NAMES)}", markup=False)
