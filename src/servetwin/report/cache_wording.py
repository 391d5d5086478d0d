"""KV caches, in the words of terminal and HTML reports."""

from __future__ import annotations

from typing import Any

from servetwin.report.numbers import number

__all__ = ["kv_cache"]


def kv_cache(metrics: dict[str, Any]) -> str:
    """How full the caches were, how often they helped, and what came from tiers below."""
    cache = metrics["kv_cache"]
    hits = cache["prefix_hit_rate"]
    told = (
        "" if metrics.get("groups") else _fullest(cache, divided=bool(metrics.get("pipeline"))),
        "" if hits is None else f"{hits * 100:.1f} % of input tokens cached",
        *(
            f"{number(tier['read_bytes'] / 1e9)} GB loaded from {tier['name']}"
            for tier in cache.get("tiers") or ()
        ),
    )
    return "; ".join(part for part in told if part) if cache["capacity_blocks"] else ""


def _fullest(cache: dict[str, Any], *, divided: bool) -> str:
    """How full the cache of one replica was, or with `divided`, of one of its microbatches."""
    one = "microbatch" if divided else "replica"
    decode = cache.get("decode")
    if not decode:
        return f"at most {_blocks(cache)} blocks on one {one}{_filled(cache)}"
    return (
        f"at most {_blocks(cache)} blocks on one prefill {one}{_filled(cache)}; "
        f"at most {_blocks(decode)} on one decode {_part(decode)}{_filled(decode)}"
    )


def _part(decode: dict[str, Any]) -> str:
    return "microbatch" if decode.get("microbatches", 1) > 1 else "replica"


def _blocks(cache: dict[str, Any]) -> str:
    return f"{number(cache['peak_blocks'])} of {number(cache['capacity_blocks'])}"


def _filled(cache: dict[str, Any]) -> str:
    peak, capacity = cache["peak_blocks"], cache["capacity_blocks"]
    return "" if peak is None or not capacity else f" ({peak / capacity * 100:.0f} %)"
