"""`servetwin study pools`: the split into prefill and decode pools that carries most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.options import PanelCommand, takes_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from servetwin.cli.pool_sizes import Sides, Tokens
    from servetwin.cli.settings import RunSettings
    from servetwin.results import Slo
    from servetwin.types import Workload

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PANELS = ("Deployment", "Engine", "Pools", "Workload", "Simulation")
DECIDED = ("replicas", "also", "prefill_replicas", "decode_replicas", "rps", "sweep_rps")
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
MOST_ENGINES = 256


@dataclass(frozen=True)
class _Asked:
    """A question that can be asked."""

    settings: RunSettings
    engines: int
    slo: Slo
    workload: Workload
    sides: Sides


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
            help="max-num-batched-tokens of aggregated engines, each tried; else the best is "
            "searched.",
        ),
    ] = None,
    prefill_tokens: Annotated[
        str | None, typer.Option(metavar="N,…", help="The same of prefill pools.")
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

    Splits are compared with aggregated engines of equal cost, both with the budgets of tokens
    (max-num-batched-tokens) that suit them best. Without --model, --gpu, a
    workload or --slo: Llama-3.1-70B on 4 H100-SXM an engine, azure-conv, TTFT 1 s, TPOT 50 ms.
    Routers are least-outstanding unless named.

    \b
    servetwin study pools --model meta-llama/Llama-3.1-8B --gpu A100-80GB \\
        --trace AzureLLMInferenceTrace_conv.csv --slo ttft=500ms,tpot=50ms --out pools
    """
    from servetwin.cli.interrupts import INTERRUPTED, at_once

    with at_once():
        from servetwin.cli.pool_sizes import Tokens, numbers

        chosen = tuple(numbers("--rates", rates, float)) if rates else ()
        tokens = Tokens(aggregated_tokens, prefill_tokens)
        asked = _asked(_settings(flags, config), engines, tokens, out)
    content = _answer(asked, chosen)
    if out is not None:
        from servetwin.studies.pool_split.writing import write_pools

        write_pools(content, out)
    _show(content, json, out)
    if content["interrupted"]:
        raise typer.Exit(INTERRUPTED)


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
    _without_failures(loaded.settings)
    reset = {name: RunSettings.model_fields[name].default for name in DECIDED}
    return loaded.settings.model_copy(update=reset)


def _without_failures(settings: RunSettings) -> None:
    """Raise InputError where a file of settings has engines fail."""
    from servetwin.cli.failure_settings import FailureSettings
    from servetwin.errors import InputError

    for name, field in FailureSettings.model_fields.items():
        if getattr(settings, name) != field.default:
            raise InputError(f"failures are not part of this study: leave {name} out")


def _asked(settings: RunSettings, engines: int, tokens: Tokens, out: Path | None) -> _Asked:
    """Read everything, and check it."""
    from servetwin.cli.pool_sizes import sides_of
    from servetwin.results import parse_slo

    _check(engines, out)
    slo = parse_slo(_slo_text(settings))
    workload = _requests(settings)
    return _Asked(settings, engines, slo, workload, sides_of(settings, engines, tokens, workload))


def _answer(asked: _Asked, rates: tuple[float, ...]) -> dict[str, Any]:
    """Search, and describe what was found; after Ctrl-C, by then."""
    from dataclasses import replace

    from servetwin.cli.console import progress
    from servetwin.cli.simulate import sim_options
    from servetwin.studies.pool_split.search import Question
    from servetwin.studies.pool_split.tuning import hold, most_layouts
    from servetwin.studies.pool_split.writing import describe
    from servetwin.workload import at_rate

    sides, workload = asked.sides.sides, asked.workload
    with progress("Searching deployments", most_layouts(sides)) as (tell, say):
        options = sim_options(asked.settings, interval=0)
        options = replace(options, token_gaps=False, say=_once(say))
        slo, engines = asked.slo, asked.engines
        question = Question(lambda rate: at_rate(workload, rate), slo, engines, options, rates)
        contest = hold(sides, question, tell)
    about = _about(asked)
    if rates:
        about["config"]["rates"] = list(rates)
    return describe(contest, slo, about)


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Many simulations at once have the same to say."""
    said: set[str] = set()

    def first(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return first


def _about(asked: _Asked) -> dict[str, Any]:
    """What the result says about what it was asked."""
    from servetwin import __version__
    from servetwin.cli.build import resolved
    from servetwin.cli.console import command_line
    from servetwin.workload import summarize

    both = asked.settings.model_copy(update={"decode_replicas": 1})
    config = resolved(both, asked.sides.pools)
    config = {name: value for name, value in config.items() if name not in DECIDED}
    cost = asked.sides.sides[-1].layouts[0].cost
    return {
        "config": {**config, "engines": asked.engines},
        "provenance": {
            "servetwin": __version__,
            "seed": asked.settings.seed,
            "cost_model": {"level": cost.level, "source": cost.source},
            "command": command_line(),
        },
        "workload": {**summarize(asked.workload), "rps": None, "span_s": None},
        "notes": (*asked.sides.notes, *asked.workload.notes),
    }


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


def _slo_text(settings: RunSettings) -> str:
    parts = dict(part.split("=") for part in DEFAULT_SLO.split(","))
    given = settings.slo or {}
    if not given.keys() - {"p"}:
        given = {**parts, **given}
    return ",".join(f"{name}={value}" for name, value in given.items())


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
