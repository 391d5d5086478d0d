"""Memory and costs of each kind of engine, in the words of terminal and HTML reports."""

from __future__ import annotations

from typing import Any

from servetwin.report.numbers import number

__all__ = ["cost_line", "memory_line"]

DECODE = "decode_"
HOLDS = {"weights": "weights", "runtime": "runtime", "kv_cache": "KV cache"}
"""Keys of `memory_per_gpu`, in words."""


def memory_line(summary: dict[str, Any]) -> str:
    """Gigabytes of one GPU by what they hold, of each kind that holds something else."""
    found = [(name, _held(known.get("memory_per_gpu"))) for name, known in _kinds(summary)]
    found = [(name, held) for name, held in found if held]
    if len({held for _, held in found}) == 1:
        return f"{found[0][1]} on each GPU"
    return "; ".join(f"{held} on each {name}" for name, held in found)


def cost_line(summary: dict[str, Any]) -> str:
    """Where the costs of each kind come from."""
    costs = [known.get("cost_model") for _, known in _kinds(summary)]
    told = [_origin(cost) for cost in costs if isinstance(cost, dict)]
    return "; ".join(text for text in dict.fromkeys(told) if text)


def _kinds(summary: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names of the GPUs of each kind of engine, and what is known of it."""
    known, config = summary["provenance"], summary["config"]
    also = known.get("also")
    if isinstance(also, list) and also:
        return [(str(config.get("gpu")), known), *((str(kind.get("gpu")), kind) for kind in also)]
    names = [name for name in known if name.startswith(DECODE)]
    if not names:
        return [("GPU", known)]
    decode = {name.removeprefix(DECODE): known[name] for name in names}
    return [("prefill GPU", known), ("decode GPU", decode)]


def _held(plan: object) -> str:
    if not isinstance(plan, dict) or not all(isinstance(plan.get(k), int | float) for k in HOLDS):
        return ""
    return ", ".join(f"{number(float(plan[key]) / 1e9)} GB {what}" for key, what in HOLDS.items())


def _origin(cost: dict[str, Any]) -> str:
    level, source = cost.get("level"), cost.get("source")
    return f"{level}: {source}" if level and source else str(level or source or "")
