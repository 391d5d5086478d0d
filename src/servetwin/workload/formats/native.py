"""servetwin's own format: Parquet with every column of a Workload, exact to the picosecond.

Columns arrival_ps, input_tokens, output_tokens, and where the workload has them session_id,
parent, think_time_ps, priority, adapter and block_hashes (a list of ids); an arrival of -1 marks a
follow-up.
The schema's metadata hold, under the key `servetwin.workload`, a JSON object with
`version`, `name`, `source`, and the `block_tokens` and `scope` of the hashes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload
from servetwin.workload.parsing.csv_table import missing_column
from servetwin.workload.parsing.json_text import parse_json
from servetwin.workload.parsing.parquet_table import parquet_schema, parquet_table
from servetwin.workload.saving import save_table

__all__ = ["MARK", "read", "unwritable", "write"]

MARK = b"servetwin.workload"
_VERSION = 1
_REQUIRED = ("arrival_ps", "input_tokens", "output_tokens")
_OPTIONAL = {
    "session_id": "session_id",
    "parent": "parent",
    "think_time_ps": "think_time",
    "priority": "priority",
    "adapter": "adapter",
}


def read(path: Path) -> Workload:
    names, metadata = parquet_schema(path)
    about = _about(path, metadata)
    for name in _REQUIRED:
        if name not in names:
            raise missing_column(str(path), "column", name, names)
    table = parquet_table(path)
    columns: dict[str, Any] = {"arrival": _whole(path, table, "arrival_ps", np.int64)}
    for name in _REQUIRED[1:]:
        columns[name] = _whole(path, table, name, np.int32)
    for name, field in _OPTIONAL.items():
        if name in names:
            dtype = np.int64 if name.endswith("_ps") else np.int32
            columns[field] = _whole(path, table, name, dtype)
    try:
        if "block_hashes" in names:
            columns["block_hashes"] = _hashes(path, table, about)
        return Workload(name=str(about.get("name", path.stem)), source=str(path), **columns)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _about(path: Path, metadata: dict[bytes, bytes]) -> dict[str, Any]:
    if MARK not in metadata:
        raise InputError(f"{path}: not a workload that servetwin wrote (no {MARK.decode()} mark)")
    about = parse_json(metadata[MARK].decode("utf-8", "replace"), f"{path}: schema metadata")
    if not isinstance(about, dict) or about.get("version") != _VERSION:
        raise InputError(f"{path}: a workload of version {_VERSION} is needed")
    return about


def _whole(path: Path, table: Any, name: str, dtype: type[Any]) -> Any:
    """Return a column as numpy integers; raises InputError for nulls and other types."""
    import pyarrow as pa

    column = table.column(name)
    if not pa.types.is_integer(column.type) or column.null_count:
        raise InputError(f"{path}: column '{name}': whole numbers without gaps are needed")
    values = column.to_numpy()
    bounds = np.iinfo(dtype)
    if values.size and not (values.min() >= bounds.min and values.max() <= bounds.max):
        raise InputError(f"{path}: column '{name}': a number exceeds {bounds.bits} bits")
    return values.astype(dtype)


def _hashes(path: Path, table: Any, about: dict[str, Any]) -> BlockHashes:
    import pyarrow as pa

    column = table.column("block_hashes").combine_chunks()
    size, scope = about.get("block_tokens"), about.get("scope")
    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    listed = lists and pa.types.is_integer(column.type.value_type)
    if not listed or column.null_count or type(size) is not int or not isinstance(scope, str):
        raise InputError(f"{path}: column 'block_hashes': lists of ids, and their block size")
    flat = pa.table({"block_hashes": column.flatten()})
    ids = _whole(path, flat, "block_hashes", np.int64)
    lengths = np.diff(column.offsets.to_numpy().astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return BlockHashes(offsets, ids, size, scope)


def unwritable(workload: Workload) -> list[str]:  # noqa: ARG001 (one signature for all formats)
    """Nothing is ever lost."""
    return []


def write(workload: Workload, path: Path) -> None:
    import pyarrow as pa

    columns: dict[str, Any] = {
        "arrival_ps": workload.arrival,
        "input_tokens": workload.input_tokens,
        "output_tokens": workload.output_tokens,
    }
    for name, field in _OPTIONAL.items():
        if (column := getattr(workload, field)) is not None:
            columns[name] = column
    about = {"version": _VERSION, "name": workload.name, "source": workload.source}
    if (hashes := workload.block_hashes) is not None:
        lists = pa.LargeListArray.from_arrays(hashes.offsets, pa.array(hashes.ids))
        columns["block_hashes"] = lists
        about |= {"block_tokens": hashes.block_tokens, "scope": hashes.scope}
    table = pa.table(columns).replace_schema_metadata({MARK: json.dumps(about)})
    save_table(path, table)
