"""Accelerators and links, read from the TOML tables beside this module.

FLOP/s are dense: fp32 is the plain vector rate, the others are matrix units that
accumulate in fp32. Bandwidths are theoretical peaks. See the head of each table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from servetwin.catalog.names import fold, look_up, name_index
from servetwin.types import Accelerator, Link

__all__ = [
    "accelerator_names",
    "accelerators",
    "find_accelerator",
    "find_link",
    "link_names",
    "links",
    "parse_accelerators",
    "parse_links",
]

DTYPES = ("fp32", "fp16", "bf16", "fp8", "fp4")
"""fp16 stands only where there is no bf16; every device with bf16 multiplies fp16 as fast."""
MIB = 1 << 20

_OPTIONAL = ("idle_watts", "max_watts", "price_per_hour")
_ACCELERATOR_KEYS = frozenset(
    ("name", "aliases", "vendor", "tflops", "bandwidth_gb_s", "memory_mib", "link")
)
_LINK_KEYS = frozenset(("name", "aliases", "bandwidth_gb_s", "latency_us", "sources"))

_BRANDS = ("nvidia", "amd", "intel", "habana", "sambanova", "tesla", "geforce", "instinct")
"""Words that drivers and papers put in front of a name that is clear without them."""

Named = tuple[tuple[str, ...], Accelerator]
NamedLink = tuple[tuple[str, ...], Link]


def find_accelerator(name: str) -> Accelerator:
    """Return the accelerator that `name` or one of its aliases means.

    Case, spaces, dashes and underscores do not matter, nor do a maker's name in front and
    "GPU" behind. Raises InputError with the nearest names where there is none.
    """
    index = _accelerator_index()
    found = index.get(_without_brand(name))
    if found is not None:
        return found
    written = [known for names, _ in _named_accelerators() for known in names]
    return look_up(name, index, what="GPU", known=written, more="servetwin catalog gpus")


def find_link(name: str) -> Link:
    """Return the link that `name` or one of its aliases means, or raise InputError."""
    written = [known for names, _ in _named_links() for known in names]
    return look_up(name, _link_index(), what="link", known=written, more="servetwin catalog links")


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """All accelerators, in the order of the table."""
    return tuple(entry for _, entry in _named_accelerators())


@cache
def links() -> tuple[Link, ...]:
    """All links, in the order of the table."""
    return tuple(entry for _, entry in _named_links())


def accelerator_names() -> tuple[str, ...]:
    """Canonical names, without aliases."""
    return tuple(entry.name for entry in accelerators())


def link_names() -> tuple[str, ...]:
    """Canonical names, without aliases."""
    return tuple(entry.name for entry in links())


def parse_accelerators(text: str) -> tuple[Named, ...]:
    """Parse a table in TOML to pairs of all names and the accelerator.

    Raises ValueError for an unknown or missing key, a source that [sources] does not
    define, or a source of a figure that the entry does not state.
    """
    table = tomllib.loads(text)
    return tuple(_accelerator(row, table["sources"]) for row in table["accelerator"])


def parse_links(text: str) -> tuple[NamedLink, ...]:
    """Parse a table in TOML to pairs of all names and the link; raises ValueError as above."""
    table = tomllib.loads(text)
    return tuple(_link(row, table["sources"]) for row in table["link"])


def _accelerator(row: Mapping[str, Any], sources: Mapping[str, str]) -> Named:
    _check_keys(row, _ACCELERATOR_KEYS | {"source", "sources"}, frozenset(_OPTIONAL))
    unknown = set(row["tflops"]) - set(DTYPES)
    if unknown:
        raise ValueError(f"{row['name']}: unknown dtype {sorted(unknown)}")
    figures = (
        *row["tflops"],
        "bandwidth",
        "memory",
        "link",
        *(key for key in _OPTIONAL if key in row),
    )
    defaults = dict.fromkeys(figures, row["source"])
    accelerator = Accelerator(
        name=row["name"],
        flops={dtype: _scaled(value, 1e12) for dtype, value in row["tflops"].items()},
        bandwidth=_scaled(row["bandwidth_gb_s"], 1e9),
        memory=_scaled(row["memory_mib"], MIB),
        **{key: float(row[key]) if key in row else None for key in _OPTIONAL},
        link=row["link"],
        vendor=row["vendor"],
        sources=_resolve(row, defaults, sources),
    )
    return (row["name"], *row["aliases"]), accelerator


def _link(row: Mapping[str, Any], sources: Mapping[str, str]) -> NamedLink:
    _check_keys(row, _LINK_KEYS, frozenset())
    link = Link(
        name=row["name"],
        bandwidth=_scaled(row["bandwidth_gb_s"], 1e9),
        latency=row["latency_us"] / 1e6,
        sources=_resolve(row, {"bandwidth": "", "latency": ""}, sources),
    )
    return (row["name"], *row["aliases"]), link


def _scaled(value: float, unit: float) -> float:
    """Multiply by a unit and drop the rounding error of decimal figures such as 989.4."""
    return float(round(value * unit))


def _check_keys(row: Mapping[str, Any], required: frozenset[str], optional: frozenset[str]) -> None:
    name = row.get("name", "an entry without a name")
    missing = required - set(row)
    unknown = set(row) - required - optional
    if missing:
        raise ValueError(f"{name}: missing {', '.join(sorted(missing))}")
    if unknown:
        raise ValueError(f"{name}: unknown key {', '.join(sorted(unknown))}")


def _resolve(
    row: Mapping[str, Any], defaults: Mapping[str, str], sources: Mapping[str, str]
) -> dict[str, str]:
    """Spell out where each figure comes from: its own source, else the entry's."""
    stray = set(row["sources"]) - set(defaults)
    if stray:
        raise ValueError(f"{row['name']}: source of a figure it lacks: {sorted(stray)}")
    chosen = {**defaults, **row["sources"]}
    undefined = set(chosen.values()) - set(sources)
    if undefined:
        raise ValueError(f"{row['name']}: [sources] does not define {sorted(undefined)}")
    return {figure: sources[key] for figure, key in chosen.items()}


def _without_brand(name: str) -> str:
    folded = fold(name).removesuffix("gpu")
    stripped = True
    while stripped:
        stripped = False
        for brand in _BRANDS:
            if folded.startswith(brand):
                folded = folded.removeprefix(brand)
                stripped = True
    return folded


@cache
def _named_accelerators() -> tuple[Named, ...]:
    return parse_accelerators(_read("accelerators.toml"))


@cache
def _named_links() -> tuple[NamedLink, ...]:
    return parse_links(_read("links.toml"))


@cache
def _accelerator_index() -> dict[str, Accelerator]:
    return name_index(_named_accelerators())


@cache
def _link_index() -> dict[str, Link]:
    return name_index(_named_links())


def _read(file: str) -> str:
    return (Path(__file__).parent / "data" / file).read_text(encoding="utf-8")
