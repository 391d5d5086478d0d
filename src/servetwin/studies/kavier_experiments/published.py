"""What Kavier published: the targets of the experiments, read from `published.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["published"]


@cache
def _tables() -> Mapping[str, Any]:
    file = resources.files("servetwin.studies.kavier_experiments").joinpath("published.toml")
    return tomllib.loads(file.read_text("utf-8"))


def published(name: str) -> Mapping[str, Any]:
    """One table of the file: `accuracy`, `export_rate`, `kv_cache` or `prefix`."""
    table: Mapping[str, Any] = _tables()[name]
    return table
