"""From flags, `--set`, a configuration file and a pasted engine line to one RunSettings.

Flags win over `--set`, which wins over the file, which wins over the defaults. Every value
remembers where it was given, so that an error can say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from servetwin.cli.engine_args import EVERY_DEVICE, parse_engine_args
from servetwin.cli.options import flag_of
from servetwin.cli.pool_settings import POOL_DEFAULTS
from servetwin.cli.settings import DEFAULTS, TABLES, RunSettings, panel_of, split_table
from servetwin.errors import InputError, nearest

__all__ = ["Layer", "Loaded", "from_assignments", "from_flags", "load_settings"]

FIELDS = tuple(RunSettings.model_fields)

SOURCES = {
    "trace": ("workload", "isl", "osl", "format", "map", "turns", "think"),
    "workload": ("trace", "format", "map", "isl", "osl"),
    "isl": ("trace", "format", "map"),
    "osl": ("trace", "format", "map"),
    "rps": ("sweep_rps",),
    "replicas": ("prefill_replicas",),
    "prefill_replicas": ("replicas",),
    "sweep_rps": ("rps", "snapshot_interval"),
}
"""Naming one of these drops those that a weaker layer has named."""

NOT_IN_A_SWEEP = {
    "rps": "the rates are those of the sweep",
    "snapshot_interval": "a sweep writes no timeline",
    "chrome_trace": "a sweep writes no trace",
    "price": "a sweep computes no cost",
    "electricity_price": "a sweep computes no cost",
    "carbon": "a sweep computes no energy",
    "pue": "a sweep computes no energy",
}
"""Settings of a single run, and why a sweep has no use for them."""


@dataclass(frozen=True)
class Layer:
    """Values by field name, and where each was given."""

    values: dict[str, Any]
    where: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    """Engine options that mean nothing here."""


@dataclass(frozen=True)
class Loaded:
    """Settings, and the engine options that were not understood."""

    settings: RunSettings
    unknown: tuple[str, ...]


def load_settings(
    flags: Mapping[str, Any], config: Path | None = None, assignments: Iterable[str] = ()
) -> Loaded:
    """Merge all layers and check the result. Raises InputError that names the bad value."""
    layers = [from_assignments(assignments), from_flags(flags)]
    if config is not None:
        from servetwin.cli.config_file import read_config

        layers.insert(0, Layer(*read_config(config)))
    merged: dict[str, Any] = {}
    where: dict[str, str] = {}
    unknown: tuple[str, ...] = ()
    for layer in map(_expand, layers):
        _check_names(layer)
        _lay_over(merged, layer)
        where |= layer.where
        unknown += layer.unknown
    _check_sweep(merged, where)
    if merged.get("ep") != EVERY_DEVICE:
        return Loaded(_validated(merged, where), unknown)
    settings = _validated({**merged, "ep": None}, where)
    every = {"ep": settings.tp * settings.dp, "defaulted": [*settings.defaulted, "ep"]}
    return Loaded(settings.model_copy(update=every), unknown)


def from_flags(flags: Mapping[str, Any]) -> Layer:
    """Make a layer of the flags that were given."""
    values = {name: value for name, value in flags.items() if value not in (None, [])}
    return Layer(values, {name: flag_of(name) for name in values})


def from_assignments(assignments: Iterable[str]) -> Layer:
    """Make a layer of `name=value` and `name.part=value`; `null` undoes a weaker layer."""
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    for text in assignments:
        name, equals, given = text.partition("=")
        name, _, part = (word.strip() for word in name.replace("-", "_").partition("."))
        if not equals or not name:
            raise InputError(f"--set {text}: must be written name=value")
        value = None if given.strip() == "null" else given.strip()
        where[name] = f"--set {name}"
        if not part:
            values[name] = value
        elif name in TABLES:
            known = values.get(name)
            values[name] = {**(known if isinstance(known, dict) else {}), part: value}
        else:
            raise InputError(f"--set {text}: only {' and '.join(TABLES)} have parts")
    return Layer(values, where)


def _expand(layer: Layer) -> Layer:
    """Replace engine_args by what it says; other values of the same layer win over it."""
    line = layer.values.get("engine_args")
    if not isinstance(line, str):
        return layer
    pasted = parse_engine_args(line)
    rest = {name: value for name, value in layer.values.items() if name != "engine_args"}
    where = {name: f"--engine-args {flag_of(name)}" for name in pasted.values}
    return Layer({**pasted.values, **rest}, {**where, **layer.where}, pasted.unknown)


def _check_names(layer: Layer) -> None:
    for name in layer.values:
        if name not in FIELDS:
            hint = nearest(name, FIELDS) or "docs/reference/config.md lists all"
            raise InputError(f"{layer.where.get(name, name)}: unknown setting; {hint}")
    if layer.values.get("trace") is not None:
        for other in ("workload", "isl", "osl"):
            if layer.values.get(other) is not None:
                raise InputError(
                    f"{layer.where[other]} and {layer.where['trace']} exclude each other: "
                    "lengths come from the trace or from a generator"
                )


def _check_sweep(merged: Mapping[str, Any], where: Mapping[str, str]) -> None:
    if merged.get("sweep_rps") is None:
        return
    for name, reason in NOT_IN_A_SWEEP.items():
        if merged.get(name):
            raise InputError(f"{where[name]}: {reason}; leave it or {where['sweep_rps']} away")


def _lay_over(merged: dict[str, Any], layer: Layer) -> None:
    if any(panel_of(name) in ("Deployment", "Engine", "Pools") for name in layer.values):
        _forget_defaults(merged)
    for name in layer.values:
        for dropped in SOURCES.get(name, ()):
            if layer.values[name] is not None and dropped not in layer.values:
                merged.pop(dropped, None)
    for name, value in layer.values.items():
        if name in TABLES and isinstance(value, dict):
            below = _table(merged.get(name))
            parts = {**below, **value}
            merged[name] = {part: text for part, text in parts.items() if text is not None}
        else:
            merged[name] = value


def _forget_defaults(merged: dict[str, Any]) -> None:
    """Take back what an earlier run decided by itself: it may no longer suit."""
    names = merged.get("defaulted")
    known = (*DEFAULTS, *POOL_DEFAULTS)
    if not isinstance(names, list) or not all(name in known for name in names):
        return  # not what a run has saved; left for validation to judge
    for name in names:
        merged.pop(name, None)
    if "ep" in names:
        merged["ep"] = EVERY_DEVICE
    del merged["defaulted"]


def _table(value: Any) -> dict[str, Any]:
    try:
        split = split_table(value)
    except ValueError:
        return {}
    return split if isinstance(split, dict) else {}


def _validated(merged: dict[str, Any], where: Mapping[str, str]) -> RunSettings:
    given = {name: value for name, value in merged.items() if value is not None}
    try:
        return RunSettings(**given)
    except ValidationError as error:
        raise InputError(_told(error, where)) from None


def _told(error: ValidationError, where: Mapping[str, str]) -> str:
    """Tell the first error in one line: where, what was given, what would be right."""
    first = error.errors(include_url=False)[0]
    name, *parts = map(str, first["loc"]) if first["loc"] else [""]
    part = f".{parts[0]}" if parts and name in TABLES else ""
    given = first.get("input")
    shown = f" {given!r}" if isinstance(given, str | int | float) else ""
    if isinstance(given, bool):
        shown = shown.lower()
    return f"{where.get(name, name)}{part}{shown[:60]}: {_reason(first['type'], first)}"


def _reason(kind: str, error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "greater_than":
            return f"must be above {context['gt']:g}"
        case "less_than":
            return f"must be below {context['lt']:,g}"
        case "less_than_equal":
            return f"must be at most {context['le']:,g}"
        case "int_parsing" | "int_from_float" | "int_type" | "int_parsing_size":
            return "must be a whole number"
        case "float_parsing" if str(error.get("input", "")).strip().endswith("%"):
            return "must be a number, a share between 0 and 1 and not per cent"
        case "float_parsing" | "float_type" | "finite_number":
            return "must be a finite number"
        case "bool_parsing" | "bool_type":
            return "must be true or false"
        case "string_type":
            return "must be text"
        case "dict_type":
            return "must be written name=value,name=value, or as a table"
        case "list_type" | "too_short":
            return "must be a list of numbers"
        case "value_error":
            return str(context["error"])
    return str(error["msg"])
