"""`servetwin study prefix-cache`: what a prefix cache finds, by its size and its policy."""

from __future__ import annotations

import csv
import json as json_text
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.errors import InputError, counted

if TYPE_CHECKING:
    from servetwin.cache import BlockTrace, CacheReplay

__all__ = ["app", "describe", "measure", "parse_capacities", "parse_policies", "write_files"]

SCHEMA = "servetwin.prefix_cache/1"
UNBOUNDED = "unbounded"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def prefix_cache(
    trace: Annotated[
        Path, typer.Option(metavar="FILE", help="Trace whose requests name prefix blocks.")
    ],
    capacity_blocks: Annotated[
        str, typer.Option(metavar="N,…", help="Sizes of the cache, in blocks, or unbounded.")
    ] = "1000,10000,unbounded",
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME,…",
            help="trace-lru, vllm-lru, fifo, lfu, s3-fifo, flop-aware, belady, or all.",
        ),
    ] = "trace-lru",
    block_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Tokens of a block; else the trace's own.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="NAME", help="Format of the trace; else its content says.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list, alone.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write table and figure there.")
    ] = None,
) -> None:
    """Replay a trace through prefix caches of several sizes and policies.

    \b
    servetwin study prefix-cache --trace conversation_trace.jsonl \\
        --capacity-blocks 1000,10000,unbounded --policy trace-lru,belady
    """
    capacities, policies = parse_capacities(capacity_blocks), parse_policies(policy)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    from servetwin.cache import block_trace
    from servetwin.workload import read

    blocks = block_trace(read(trace, format=format), block_tokens)
    replays = measure(blocks, capacities, policies)
    if out is not None:
        write_files(blocks, replays, out)
    if json:
        keys = ("policy", "capacity_blocks", "references", "hits", "hit_rate")
        rows = [{key: row[key] for key in keys} for row in map(_row, replays)]
        print(json_text.dumps(rows, indent=2))
        return
    _print(blocks, replays)
    if out is not None:
        print(f"\nWritten to {out}/: prefix_cache.csv, .json, .png and .html")


def parse_capacities(text: str) -> list[int | None]:
    """Read "1000,10000,unbounded"; None stands for the last. Raises InputError."""
    found: list[int | None] = []
    for part in text.split(","):
        word = part.strip()
        if word.casefold() == UNBOUNDED:
            found.append(None)
        elif re.fullmatch(r"[0-9]{1,18}", word) and int(word) > 0:
            found.append(int(word))
        else:
            raise InputError(
                f"--capacity-blocks '{word[:40]}': must be a whole number of blocks, at least 1, "
                f"or {UNBOUNDED}"
            )
    return list(dict.fromkeys(found))


def parse_policies(text: str) -> list[str]:
    """Read names of policies between commas, or "all". Raises InputError."""
    from servetwin.cache import POLICIES, check_policy

    if text.strip().casefold() == "all":
        return list(POLICIES)
    try:
        return list(dict.fromkeys(check_policy(part) for part in text.split(",")))
    except InputError as error:
        raise InputError(f"--policy: {error}") from None


def measure(
    blocks: BlockTrace, capacities: Sequence[int | None], policies: Sequence[str]
) -> list[CacheReplay]:
    """Replay at each capacity with each policy, policy by policy."""
    from servetwin.cache import replay
    from servetwin.cache.kernel import compile as compiling

    if not compiling.is_compiled():
        text = "compiling the cache policies for this machine, once (about 5 s) …"
        print(text, file=sys.stderr, flush=True)
    return [replay(blocks, capacity, policy) for policy in policies for capacity in capacities]


def describe(blocks: BlockTrace, replays: Sequence[CacheReplay]) -> dict[str, Any]:
    """Return the content of `prefix_cache.json`."""
    return {
        "schema": SCHEMA,
        "trace": blocks.source,
        "requests": int(blocks.offsets.size - 1),
        "input_tokens": int(blocks.input_tokens.sum(dtype="int64")),
        "block_tokens": blocks.block_tokens,
        "references": blocks.references,
        "distinct_blocks": blocks.distinct,
        "results": [_row(replay) for replay in replays],
    }


def write_files(blocks: BlockTrace, replays: Sequence[CacheReplay], out: Path) -> None:
    """Write prefix_cache.csv, .json, .png and .html; all of them, or InputError and none."""
    from servetwin.report import cache_figures, figures
    from servetwin.results.output import Writer, write_together
    from servetwin.results.summary import to_json

    content = describe(blocks, replays)
    requests = counted(content["requests"], "request")
    trace = f"{Path(blocks.source).name}, {requests}"
    chart = cache_figures.hit_rate_by_capacity(replays, trace)
    writers: dict[str, Writer] = {
        "prefix_cache.csv": lambda path: _write_csv(content["results"], path),
        "prefix_cache.png": lambda path: figures.save(chart, path),
        "prefix_cache.html": lambda path: figures.save(chart, path),
        "prefix_cache.json": lambda path: path.write_text(
            to_json(content) + "\n", encoding="utf-8"
        ),
    }
    write_together(out, writers, ())


def _row(replay: CacheReplay) -> dict[str, Any]:
    capacity = replay.capacity_blocks
    return {
        "policy": replay.policy,
        "capacity_blocks": UNBOUNDED if capacity is None else capacity,
        "references": replay.references,
        "hits": replay.hits,
        "hit_rate": replay.hit_rate,
        "hit_tokens": replay.hit_tokens,
        "evictions": replay.evictions,
    }


def _write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _print(blocks: BlockTrace, replays: Sequence[CacheReplay]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=False)
    console.print(f"Prefix cache of {blocks.source}", style="bold", markup=False)
    console.print(
        f"{blocks.offsets.size - 1:,} requests, {blocks.distinct:,} different blocks "
        f"of {blocks.block_tokens} tokens\n",
        markup=False,
    )
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("policy", no_wrap=True)
    for head in ("capacity", "references", "hits", "hit rate", "evictions"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in map(_row, replays):
        capacity = row["capacity_blocks"]
        counts = [f"{row[name]:,}" for name in ("references", "hits")]
        table.add_row(
            row["policy"],
            capacity if capacity == UNBOUNDED else f"{capacity:,}",
            *counts,
            f"{row['hit_rate']:.2%}",
            f"{row['evictions']:,}",
        )
    console.print(table)
