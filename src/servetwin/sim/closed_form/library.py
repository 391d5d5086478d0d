"""Kavier's own little library of models and GPUs (`data/kavier.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from servetwin.errors import InputError, nearest

__all__ = [
    "KavierGpu",
    "KavierModel",
    "find_kavier_gpu",
    "find_kavier_model",
    "kavier_gpus",
    "kavier_models",
]

T = TypeVar("T")


@dataclass(frozen=True)
class KavierModel:
    """A model as Kavier sees it."""

    name: str
    layers: int
    d_model: int
    bytes: int
    """Of one parameter."""
    parameters: float
    active: float
    """Parameters one token passes through."""

    @property
    def kv_bytes_per_token(self) -> float:
        """Keys and values of every layer as wide as the model: shared heads are ignored."""
        return 2.0 * self.layers * self.d_model * self.bytes


@dataclass(frozen=True)
class KavierGpu:
    """A GPU as Kavier sees it."""

    name: str
    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    cores: int
    mhz: int


@cache
def _table() -> Mapping[str, Any]:
    text = resources.files("servetwin.sim.closed_form").joinpath("data/kavier.toml")
    return tomllib.loads(text.read_text("utf-8"))


def kavier_models() -> dict[str, KavierModel]:
    """Every model of the library by name."""
    return {
        name: KavierModel(name, **{"active": entry["parameters"], **entry})
        for name, entry in _table()["models"].items()
    }


def kavier_gpus() -> dict[str, KavierGpu]:
    """Every GPU of the library by name."""
    return {name: KavierGpu(name, **entry) for name, entry in _table()["gpus"].items()}


def find_kavier_model(name: str) -> KavierModel:
    """Look up a model; case, spaces, dashes and underscores matter only between namesakes."""
    return _find("model", name, kavier_models())


def find_kavier_gpu(name: str) -> KavierGpu:
    """Look up a GPU; A100 means A100-80GB, as in the reproducibility capsule."""
    return _find("GPU", name, kavier_gpus())


def _find(kind: str, name: str, entries: dict[str, T]) -> T:
    known = {_folded(entry): entry for entry in reversed(entries)}
    known |= {_folded(alias): target for alias, target in _table()["aliases"].items()}
    target = name if name in entries else known.get(_folded(name), "")
    if target not in entries:
        hint = nearest(name, entries) or f"known: {', '.join(entries)}"
        raise InputError(f"Kavier's library has no {kind} '{name}': {hint}")
    return entries[target]


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " -_")
