"""The catalog of models: which there are, and finding one by any of its names.

A model is a table in `data/models/FAMILY.toml`: `name`, `aliases`, `source`,
`published_parameters`, and under `config` the keys of its config.json that matter. A table
with `like` takes the config of the model named there and changes only its own keys.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from servetwin.catalog.huggingface import model_from_config, model_from_file
from servetwin.catalog.names import fold, look_up, name_index
from servetwin.types import Model

__all__ = ["ModelEntry", "find_model", "model_entries", "model_names", "models"]

VARIANTS = ("instruct", "chat", "it", "hf", "base")
"""Endings that name other weights in the same shapes."""


@dataclass(frozen=True)
class ModelEntry:
    """One model of the data files: its names, and the keys of its config.json that matter."""

    name: str
    family: str
    aliases: tuple[str, ...]
    source: str
    published_parameters: float
    """0 where none is known."""
    config: Mapping[str, object]

    @property
    def names(self) -> Iterator[str]:
        """All names that mean this model: each in full and without its publisher."""
        for name in (self.name, *self.aliases):
            yield name
            yield name.rpartition("/")[2]

    def build(self) -> Model:
        """Build the Model."""
        return replace(
            model_from_config(self.config, self.name),
            published_parameters=self.published_parameters,
            source=self.source,
        )


def find_model(name_or_path: str) -> Model:
    """Find a model by catalog name, Hugging Face id, alias, or path to a config.json.

    Case, spaces, dashes and underscores do not matter. The path may name a folder that
    holds a config.json. Raises InputError with the nearest names where nothing fits.
    """
    entry = _entry_of(name_or_path)
    if entry is not None:
        return _build(entry.name)
    if name_or_path.endswith(".json") or _exists(name_or_path):
        return model_from_file(Path(name_or_path), name_or_path)
    known = [name for entry in model_entries() for name in entry.names]
    more = "`servetwin catalog models`"
    return look_up(name_or_path, _index(), what="model", known=known, more=more).build()


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # longer than a path may be, or not a path at all
        return False


def _entry_of(name: str) -> ModelEntry | None:
    index = _index()
    folded = fold(name)
    entry = index.get(folded)
    for ending in VARIANTS:
        if entry is None and folded.endswith(ending):
            entry = index.get(folded.removesuffix(ending))
    return entry


def models() -> tuple[Model, ...]:
    """Return every model of the catalog, in the order of the data files."""
    return tuple(_build(entry.name) for entry in model_entries())


def model_names() -> list[str]:
    """List the catalog's names, without aliases."""
    return [entry.name for entry in model_entries()]


@functools.cache
def _build(name: str) -> Model:
    return _index()[fold(name)].build()


@functools.cache
def _index() -> dict[str, ModelEntry]:
    return name_index((entry.names, entry) for entry in model_entries())


@functools.cache
def model_entries() -> tuple[ModelEntry, ...]:
    """Read the data files."""
    folder = resources.files("servetwin.catalog") / "data" / "models"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")),
        key=lambda file: file.name,
    )
    tables = [
        (document["family"], table)
        for document in (tomllib.loads(file.read_text(encoding="utf-8")) for file in files)
        for table in document["model"]
    ]
    by_name = {table["name"]: table for _, table in tables}
    return tuple(_entry(family, table, by_name) for family, table in tables)


def _entry(family: str, table: dict[str, Any], by_name: Mapping[str, dict[str, Any]]) -> ModelEntry:
    """Build an entry; `like` names another whose config it shares, but for its own keys."""
    base = by_name[table["like"]] if "like" in table else {}
    return ModelEntry(
        name=table["name"],
        family=family,
        aliases=tuple(table.get("aliases", ())),
        source=table["source"],
        published_parameters=float(
            table.get("published_parameters", base.get("published_parameters", 0.0))
        ),
        config={**base.get("config", {}), **table.get("config", {})},
    )
