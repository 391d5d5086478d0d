"""Replicas of several kinds, in the words of terminal and HTML reports."""

from __future__ import annotations

from typing import Any

__all__ = ["also_line", "gpus_of", "group_lines"]


def gpus_of(config: dict[str, Any]) -> str:
    """Name the GPUs of a deployment."""
    also = config.get("also")
    others = (str(text).split(":")[0] for text in (also if isinstance(also, list) else ()))
    return " and ".join(dict.fromkeys((str(config.get("gpu", "unnamed GPU")), *others)))


def also_line(config: dict[str, Any]) -> str:
    """Say which other replicas there are; "" where all are alike."""
    given = config.get("also")
    return "; ".join(map(_told, given)) if isinstance(given, list) else ""


def _told(text: object) -> str:
    """`A100-80GB:3:2,speed=0.9,link=NVSwitch2`, as a run has resolved it, in words."""
    head, *parts = str(text).split(",")
    if head.count(":") != 2:
        return str(text)
    gpu, replicas, tp = head.split(":")
    unused = ("ep=1", *(part for part in parts if tp == "1" and part.startswith("link=")))
    shown = [f"tp {tp}", *(part.replace("=", " ") for part in parts if part not in unused)]
    return f"{gpu}, {', '.join(shown)}, {replicas} replica{'' if replicas == '1' else 's'}"


def group_lines(groups: list[dict[str, Any]] | None) -> dict[str, str]:
    """How the replicas of each kind fared."""
    return {f"Group {n}": _group(group) for n, group in enumerate(groups or (), 1)}


def _group(group: dict[str, Any]) -> str:
    parts = [f"{group['gpu']}, {_numbers(group)}"]
    if group["speed"] != 1:
        parts[0] += f", speed {group['speed']:g}"
    if group["share"] is not None:
        parts.append(f"{group['share'] * 100:.0f} % of requests")
    latencies = [
        f"{name} {_ms(group[key]['p50'])}"
        for name, key in (("TTFT", "ttft_ms"), ("TPOT", "tpot_ms"))
        if group[key]["p50"] is not None
    ]
    if latencies:
        parts.append(f"P50 {', '.join(latencies)}")
    peak, capacity = group["peak_blocks"], group["capacity_blocks"]
    full = f" ({peak / capacity * 100:.0f} %)" if capacity else ""
    parts.append(f"at most {peak:,} of {capacity:,} KV blocks{full}")
    if group["usd_per_gpu_hour"] is not None:
        parts.append(f"${group['usd_per_gpu_hour']:.2f} a GPU and hour")
    if group.get("energy_j") is not None:
        parts.append(f"{group['energy_j'] / 3600:,.3g} Wh")
    return "; ".join(parts)


def _numbers(group: dict[str, Any]) -> str:
    first, last = group["first"], group["first"] + group["replicas"] - 1
    return f"replica {first}" if first == last else f"replicas {first} to {last}"


def _ms(value: float) -> str:
    return f"{value / 1e3:,.3g} s" if value >= 1e3 else f"{value:,.3g} ms"
