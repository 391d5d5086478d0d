"""Recognise the format of a trace from its content, never from its name."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

from servetwin.errors import InputError
from servetwin.workload.formats import azure, kavier, mooncake, native, vidur
from servetwin.workload.parsing.csv_table import csv_header, missing_column
from servetwin.workload.parsing.json_text import parse_json
from servetwin.workload.parsing.parquet_table import is_parquet, parquet_schema
from servetwin.workload.parsing.text import check_file, is_folder, shown, text_lines

__all__ = ["detect_format"]

_TABLES = {"azure": azure.COLUMNS, "vidur": vidur.COLUMNS, "kavier": kavier.COLUMNS}
_HINT = (
    "name the columns of your own log: servetwin simulate and servetwin workload convert take "
    "--map input=…,output=…"
)


def detect_format(path: str | Path) -> str:
    """Return the name of the format; raises InputError where it is none of those known."""
    file = Path(path)
    if is_folder(file):
        return "agentic"
    check_file(file)
    if is_parquet(file):
        return _of_parquet(file)
    first = next((line for _, line in text_lines(file) if not line.isspace()), "").strip()
    if first.startswith("["):
        return "dejavu"
    if first.startswith("{"):
        return _of_json(file, first)
    return _of_columns(f"{file}:1", csv_header(file))


def _of_parquet(file: Path) -> str:
    names, metadata = parquet_schema(file)
    if native.MARK in metadata:
        return "servetwin"
    if set(kavier.COLUMNS) <= set(names):
        return "kavier"
    raise _unknown(str(file), names, "columns", kavier.COLUMNS)


def _of_json(file: Path, first: str) -> str:
    """Judge by the keys of the first object, which may spread over many lines."""
    try:
        json.loads(first)
    except json.JSONDecodeError as error:
        spread = error.pos >= len(first) and re.search(r"^\{\s*$|,\s*$|[\[{]\s*$", first)
        if spread:
            return "agentic"
    except (ValueError, RecursionError):
        pass
    record = parse_json(first, f"{file}:1")
    if not isinstance(record, dict):
        raise InputError(f"{file}:1: {shown(first)} is not a JSON object")
    if "requests" in record:
        return "agentic"
    if "sub_requests" in record or "input_toks" in record:
        return "token-ids"
    if set(mooncake.KEYS) <= record.keys():
        return "mooncake"
    if "timestamp" in record and {"input_length", "output_length"} & record.keys():
        missing = next(key for key in mooncake.KEYS if key not in record)
        raise missing_column(f"{file}:1", "key", missing, list(record))
    known = (*mooncake.KEYS, "input_toks", "output_toks", "sub_requests", "requests")
    raise _unknown(f"{file}:1", list(record), "keys", known)


def _of_columns(where: str, names: list[str]) -> str:
    for name, columns in _TABLES.items():
        if set(columns) <= set(names):
            return name
    for columns in _TABLES.values():
        if set(columns) & set(names):
            missing = next(column for column in columns if column not in names)
            raise missing_column(where, "column", missing, names)
    known = tuple(column for columns in _TABLES.values() for column in columns)
    raise _unknown(where, names, "columns", known)


def _unknown(where: str, names: list[str], noun: str, known: tuple[str, ...]) -> InputError:
    """Return the exception that names the known column nearest to one of the file's."""
    found = ", ".join(shown(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
    near = ""
    for name in names[:100]:
        if name not in known and (match := difflib.get_close_matches(name, known, 1, 0.7)):
            near = f"is {shown(name)} meant to be {match[0]}? otherwise "
            break
    listed = found or "without names"
    return InputError(f"{where}: {noun} {listed} are of no known trace; {near}{_HINT}")
