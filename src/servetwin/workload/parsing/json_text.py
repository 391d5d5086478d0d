"""JSON documents and JSON lines, with bounded depth and exact numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from servetwin.errors import InputError
from servetwin.workload.parsing.batch import Batch, Wanted, chunks
from servetwin.workload.parsing.csv_table import missing_column
from servetwin.workload.parsing.text import shown, text_lines, whole_text

__all__ = ["json_batches", "json_document", "json_records", "parse_json"]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# Decimal keeps the digits as written, so that a time converts to exact picoseconds.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


def parse_json(text: str, where: str) -> Any:
    """Decode one JSON value; `where` (file, or file and line) begins a complaint."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise InputError(f"{where}: the JSON ends too early; was the file cut?") from None
        spot = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}"
        raise InputError(f"{where}: not valid JSON at {spot}: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{where}: the JSON is nested too deeply") from None
    except (ValueError, ArithmeticError) as error:
        constant = isinstance(error, ValueError) and "digits" not in str(error)
        detail = str(error) if constant else "a number is out of range"
        raise InputError(f"{where}: not valid JSON: {detail}") from None


def json_document(path: Path) -> Any:
    """Return the one JSON value that the file holds."""
    return parse_json(whole_text(path), str(path))


def json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file; blank lines are skipped."""
    empty = True
    for number, line in text_lines(path):
        if line.isspace():
            continue
        empty = False
        record = parse_json(line, f"{path}:{number}")
        if not isinstance(record, dict):
            raise InputError(f"{path}:{number}: {shown(line)} is not a JSON object")
        yield number, record
    if empty:
        raise InputError(f"{path}: the file is empty")


def json_batches(path: Path, wanted: Wanted) -> Iterator[Batch]:
    """Yield the wanted keys of a JSONL file; an absent optional key gives None.

    A name such as `usage.prompt_tokens` also reaches into nested objects.
    """
    names = (*wanted.required, *wanted.optional)
    for chunk in chunks(_values(path, wanted.required, wanted.optional), wanted.rows):
        lines = [number for number, _ in chunk]
        columns = {name: [row[at] for _, row in chunk] for at, name in enumerate(names)}
        yield Batch(str(path), lines, columns)


def _values(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...]
) -> Iterator[tuple[int, list[Any]]]:
    """Yield (line, values of the required and of the optional keys)."""
    for number, record in json_records(path):
        values = [_get(record, name) for name in required]
        if None in values:
            raise _absent(f"{path}:{number}", required[values.index(None)], record)
        values.extend(_get(record, name) for name in optional)
        yield number, values


def _absent(where: str, name: str, record: dict[str, Any]) -> InputError:
    if name in record:
        return InputError(f"{where}: key '{name}': null where a value is needed")
    return missing_column(where, "key", name, list(record))


def _get(record: dict[str, Any], name: str) -> Any:
    if name in record or "." not in name:
        return record.get(name)
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
