"""Configuration files: YAML, or the summary.json or load_curve.json of an earlier run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from servetwin.errors import InputError

__all__ = ["read_config"]

LARGEST = 10_000_000
"""Bytes; a configuration has a few hundred, a summary.json a few thousand."""

Values = dict[str, Any]


def read_config(path: Path) -> tuple[Values, dict[str, str]]:
    """Read settings, and for each where in the file it stands.

    Of a file that a run or a sweep has left (`schema: servetwin.…`), its `config`. Dashes in names
    count as underscores. Raises InputError with file and, in YAML, line.
    """
    text = _text(path)
    content, lines = _json(text, path) if path.suffix == ".json" else _yaml(text, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold settings as `name: value`")
    if str(content.get("schema", "")).startswith("servetwin."):
        content, lines = content.get("config"), {}
        if not isinstance(content, dict):
            raise InputError(f"{path}: has no config to run again")
    values = {str(name).replace("-", "_"): value for name, value in content.items()}
    where = {
        str(name).replace("-", "_"): f"{path}:{lines[name]}: {name}"
        if name in lines
        else f"{path}: {name}"
        for name in content
    }
    return values, where


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > LARGEST:
        raise InputError(f"{path}: is no configuration, it exceeds {LARGEST // 10**6} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text (byte {error.start} is not UTF-8)") from None


def _json(text: str, path: Path) -> tuple[Any, dict[str, int]]:
    try:
        return json.loads(text), {}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg.lower()}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON that can be read") from None


def _yaml(text: str, path: Path) -> tuple[Any, dict[str, int]]:
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: not YAML: {error.problem}") from None
    # The last two are what PyYAML makes of `!!bool x`, `!!int ''` and `!!timestamp x`.
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError):
        raise InputError(f"{path}: not YAML that can be read") from None
    return content, _lines(node, path)


def _lines(node: Any, path: Path) -> dict[str, int]:
    """Find the line of each name at the top; one that comes twice is an error."""
    from yaml import MappingNode

    lines: dict[str, int] = {}
    for key, _ in node.value if isinstance(node, MappingNode) else ():
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            raise InputError(f"{path}:{line}: '{name}' stands twice, first in line {lines[name]}")
        lines[name] = line
    return lines
