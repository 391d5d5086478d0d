"""Presets: generators fitted to public traces, so that a run needs no download.

Lengths, their rank correlation, and the arrival process are kept. What a preset does not
keep: prefix blocks shared between requests, the order in which lengths follow each other, and
any dependence of input and output beyond their ranks. Replay the trace itself where these
matter. `docs/reference/presets.md` has the measured error of each preset.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from servetwin.errors import InputError, nearest
from servetwin.workload.arrivals import GammaGaps, GapTable, OpenLoop, with_rate
from servetwin.workload.generate import GeneratorSpec
from servetwin.workload.lengths import Quantiles
from servetwin.workload.rates import Drift, Flat

__all__ = ["PRESETS", "Preset", "preset", "preset_info", "preset_spec"]

PRESETS = (
    "azure-conv",
    "azure-code",
    "mooncake-conversation",
    "mooncake-synthetic",
    "sharegpt",
    "arxiv",
)


@dataclass(frozen=True)
class Preset:
    """What was fitted to one trace, and where that trace comes from."""

    name: str
    title: str
    file: str
    """The trace, relative to the folder of traces that `tools/fit_presets.py` reads."""
    origin: str
    licence: str
    credit: str
    requests: int
    """Requests in the trace."""
    rank_correlation: float
    input: Quantiles
    output: Quantiles
    arrivals: OpenLoop | None
    """None where the trace has lengths only."""


def preset(
    name: str, requests: int | None = None, rps: float | None = None, seed: int = 0
) -> GeneratorSpec:
    """Make the generator of a preset.

    `requests` and `rps` (requests per second) are those of the trace unless given. Another
    rate plays the whole arrival process faster or slower: bursts keep their size in requests.
    A trace without arrivals becomes a Poisson process, and then `rps` must be given.
    Raises InputError for an unknown name or a missing rate.
    """
    return preset_spec(preset_info(name), requests, rps, seed)


def preset_spec(
    info: Preset, requests: int | None = None, rps: float | None = None, seed: int = 0
) -> GeneratorSpec:
    """Do the same as `preset` for figures that need not be the packaged ones."""
    if info.arrivals is None and rps is None:
        raise InputError(f"preset {info.name} has lengths only: give a rate (--rps)")
    base = info.arrivals or OpenLoop(1.0)
    return GeneratorSpec(
        requests=info.requests if requests is None else requests,
        input=info.input,
        output=info.output,
        arrivals=base if rps is None else with_rate(base, rps),
        seed=seed,
        name=info.name,
        rank_correlation=info.rank_correlation,
    )


@cache
def preset_info(name: str) -> Preset:
    """Look a preset up; case, and underscores for dashes, do not matter."""
    key = name.strip().casefold().replace("_", "-")
    if key not in PRESETS:
        hint = nearest(key, PRESETS) or f"known are {', '.join(PRESETS)}"
        raise InputError(f"unknown preset {name!r}: {hint}")
    return _read(key, _figures()[key])


@cache
def _figures() -> dict[str, Any]:
    text = files("servetwin.workload").joinpath("presets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _read(name: str, figures: dict[str, Any]) -> Preset:
    columns = {
        column: Quantiles(
            tuple(figures[column]["tokens"]),
            tuple(figures[column]["cumulative"]),
            f"{name}.{column}",
        )
        for column in ("input", "output")
    }
    text = {key: figures[key] for key in ("title", "file", "origin", "licence", "credit")}
    return Preset(
        name=name,
        **text,
        requests=figures["requests"],
        rank_correlation=figures["rank_correlation"],
        input=columns["input"],
        output=columns["output"],
        arrivals=_read_arrivals(name, figures["arrivals"]) if "arrivals" in figures else None,
    )


def _read_arrivals(name: str, figures: dict[str, Any]) -> OpenLoop:
    gaps: GammaGaps | GapTable
    if "gaps" in figures:
        gaps = GapTable(tuple(figures["gaps"]), tuple(figures["cumulative"]), name)
    else:
        gaps = GammaGaps(figures["cv"])
    shape = Drift(figures["drift_sd"], figures["drift_hold"]) if "drift_sd" in figures else Flat()
    return OpenLoop(figures["rate"], gaps, shape, figures.get("tick", 0.0))
