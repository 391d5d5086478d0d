"""The words and numbers that terminal and HTML reports share: how a run went."""

from __future__ import annotations

import math
from typing import Any

from servetwin.errors import counted
from servetwin.report.cache_wording import kv_cache
from servetwin.report.group_wording import gpus_of, group_lines
from servetwin.report.numbers import ABSENT, formatted, number, printable

__all__ = [
    "LATENCY_ROWS",
    "LONGEST_LABEL",
    "PART_NAMES",
    "PERCENTILE_COLUMNS",
    "duration",
    "formatted",
    "heading",
    "latency_cells",
    "number",
    "outcome",
    "part_names",
    "printable",
]

LATENCY_ROWS = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "queue_ms": "Queue",
    "e2e_latency_s": "E2E",
}
"""Keys of `metrics`, and the names by which people know them."""

PERCENTILE_COLUMNS = ("mean", "p50", "p90", "p95", "p99", "max")

PART_NAMES = {
    "frontend": "front end",
    "queue": "queueing",
    "transfer": "KV transfer",
    "own_prefill": "own prefill",
    "others_prefill": "prefill of others",
    "decode": "decode",
    "stage_wait": "waiting for a stage",
    "outage": "an outage",
    "preemption": "preemption",
    "rest": "prefill of others or preemption",
}
"""Keys of `metrics.attribution`, in words: see `part_names`."""

LONGEST_LABEL = 11
"""Characters that a terminal has for a label."""

UNITS = ((1e-3, "µs"), (1.0, "ms"), (1e3, "s"))
"""Length in milliseconds, and name, of the units a latency may be shown in."""


def latency_cells(key: str, stats: dict[str, float | None]) -> tuple[str, list[str]]:
    """Return the unit that suits one latency, and its figures in the order of the columns.

    One unit serves the whole row: the smallest in which the median is below 1,000 and the
    maximum below 100,000.
    """
    scale = 1e3 if key.endswith("_s") else 1.0
    values = [stats[name] for name in PERCENTILE_COLUMNS]
    middle, largest = ((stats[name] or 0.0) * scale for name in ("p50", "max"))
    least = max((middle or largest or 1.0) / 1e3, largest / 1e5)
    length, unit = next((unit for unit in UNITS if unit[0] > least), UNITS[-1])
    return unit, [number(None if v is None else v * scale / length) for v in values]


def heading(summary: dict[str, Any]) -> str:
    """Say in one line what this is: the model, the GPUs, simulated or measured."""
    config = summary["config"]
    model = config.get("model", "unnamed model")
    return printable(f"{model} on {gpus_of(config)}, {summary['kind']}")


def outcome(metrics: dict[str, Any]) -> dict[str, str]:
    """Say how the run went: rates, requests by outcome, and the KV cache."""
    lines = {
        "Throughput": f"{number(metrics['throughput_token_s'])} output tokens/s",
        "Requests": f"{number(metrics['request_throughput_req_s'])} completed/s",
        "Goodput": _goodput(metrics),
        "SLO": _slo(metrics["slo"]),
        "Completed": _completed(metrics),
        "Makespan": f"{number(metrics['makespan_s'], 4)} s",
        "Preemptions": number(metrics["preemptions"]),
        **_priorities(metrics.get("priorities")),
        **group_lines(metrics.get("groups")),
        "KV cache": kv_cache(metrics),
        "Pipeline": _pipelines(metrics),
        **_failures(metrics.get("failures")),
        **_slow(metrics.get("attribution")),
        "Energy": _energy(metrics),
        "Cost": _money(metrics),
    }
    return {label: line for label, line in lines.items() if line}


def _priorities(classes: list[dict[str, Any]] | None) -> dict[str, str]:
    """How soon the requests of each priority were answered."""
    lines = {}
    for entry in classes or ():
        label = f"Priority {entry['priority']}"
        label = label if len(label) <= LONGEST_LABEL else str(entry["priority"])
        ttft, e2e = (
            f"{name} {_length(entry[key]['mean'], scale)}, P99 {_length(entry[key]['p99'], scale)}"
            for name, key, scale in (("TTFT", "ttft_ms", 1.0), ("E2E", "e2e_latency_s", 1e3))
        )
        lines[label] = f"{ttft}; {e2e}; {counted(entry['requests'], 'request')}"
    return lines


def _length(value: float | None, scale: float) -> str:
    """A latency in the unit that suits it; `scale` of its own are a millisecond."""
    if value is None:
        return ABSENT
    ms = value * scale
    return f"{number(ms / 1e3)} s" if ms >= 1e3 else f"{number(ms)} ms"


def _goodput(metrics: dict[str, Any]) -> str:
    if metrics["slo"] is None:
        return ""
    return f"{number(metrics['goodput_req_s'])} requests/s within the SLO"


def _slo(slo: dict[str, Any] | None) -> str:
    """Say whether the objectives are met, and which of several limits how often."""
    if slo is None:
        return ""
    limits = {
        name.removesuffix("_ms"): f"{name.removesuffix('_ms').upper()} ≤ {duration(limit)}"
        for name, limit in slo["targets"].items()
    }
    if len(limits) > 1:
        limits = {
            name: f"{text} ({_share(slo['attained'][name])})" for name, text in limits.items()
        }
    verdict = "met" if slo["met"] else "missed"
    return (
        f"{verdict}: {_share(slo['attained']['all'])} of requests within "
        f"{' and '.join(limits.values())}; {slo['share'] * 100:.10g} % wanted"
    )


def _share(value: float) -> str:
    """Percent, rounded down: what is just below a limit does not look as if it were met."""
    return f"{math.floor(value * 1e4 + 1e-6) / 100:.2f} %"


def duration(ms: float) -> str:
    """Format a limit as people write it: 500 ms, 1.5 s."""
    return f"{ms / 1e3:.6g} s" if ms >= 1e3 else f"{ms:.6g} ms"


def _completed(metrics: dict[str, Any]) -> str:
    lost = ("rejected", "failed", "unfinished")
    others = [f"{metrics[name]:,} {name}" for name in lost if metrics[name]]
    return ", ".join([f"{metrics['completed']:,} of {metrics['requests']:,}", *others])


def _pipelines(metrics: dict[str, Any]) -> str:
    """How busy the stages of each pool were; "" where there are none."""
    first = "prefill pool: " if metrics["kv_cache"].get("decode") else ""
    pools = {first: metrics.get("pipeline"), "decode pool: ": metrics.get("decode_pipeline")}
    return "; ".join(f"{pool}{_stages(found)}" for pool, found in pools.items() if found)


def _stages(pipeline: dict[str, Any]) -> str:
    shares = ", ".join(f"{share:.0%}".replace("%", " %") for share in pipeline["utilization"])
    bubbles = f"{pipeline['bubbles']:.0%}".replace("%", " %")
    return f"stages busy {shares} of the makespan, {bubbles} bubbles or nothing to do"


def _failures(failures: dict[str, Any] | None) -> dict[str, str]:
    """How often engines failed and for how long, what had to be done again, and the delay."""
    if failures is None:
        return {}
    count = failures["count"]
    text = "none during the run"
    if count:
        text = f"{count:,}, engines down for {number(failures['downtime_s'])} s together"
        if count > 1:
            text += f", at most {number(failures['longest_s'])} s at once"
    lost = f"{counted(failures['interrupted'], 'iteration')} interrupted"
    if anew := failures["begun_anew"]:
        lost += (
            f"; {counted(anew, 'request')} began anew, {failures['lost_prompt_tokens']:,} prompt "
            f"and {failures['lost_output_tokens']:,} output tokens were lost"
        )
    if failures["rerouted"]:
        lost += f"; {failures['rerouted']:,} rerouted"
    added = failures["added_latency_s"]
    late = f"E2E {number(added['mean'])} s longer on average, {number(added['max'])} s at most"
    return {"Failures": text, **({"Lost work": lost, "Delay": late} if count else {})}


def _slow(attribution: dict[str, Any] | None) -> dict[str, str]:
    """What the slowest hundredth spends its time with."""
    if attribution is None:
        return {}
    names = part_names(attribution)
    return {
        f"Slow {name.upper()}": _shares(attribution[name]["p99"], names) for name in ("ttft", "e2e")
    }


def part_names(attribution: dict[str, Any]) -> dict[str, str]:
    """Parts in words; the rest of a TTFT is the prefill of others where nothing was preempted."""
    if attribution["e2e"]["all"].get("preemption"):
        return PART_NAMES
    return {**PART_NAMES, "rest": PART_NAMES["others_prefill"]}


def _shares(parts: dict[str, float], names: dict[str, str]) -> str:
    total = sum(parts.values()) or 1.0
    shares = sorted(((seconds / total, names[part]) for part, seconds in parts.items()))[::-1]
    told = ", ".join(f"{share * 100:.0f} % {what}" for share, what in shares if share >= 0.005)
    length = f"{number(total)} s" if total >= 1 else f"{number(total * 1e3)} ms"
    return f"{length} from P99 up: {told}"


def _energy(metrics: dict[str, Any]) -> str:
    energy = metrics["energy"]
    if energy is None or energy["total_j"] is None or not metrics["completed"]:
        return ""
    text = f"{number(energy['total_j'] / 3600)} Wh"
    if energy["j_per_output_token"] is not None:
        text += f", {number(energy['j_per_output_token'])} J per output token"
    if energy.get("band_j"):
        low, high = (number(joules / 3600) for joules in energy["band_j"])
        text += f" (power models: {low} to {high} Wh)"
    told = [] if (carbon := metrics["carbon_g"]) is None else [f"{number(carbon)} gCO2e"]
    if (pue := _pue(energy)) > 1:
        # Joules are those of the devices; carbon and dollars are of the site's energy.
        told = [f"with PUE {pue:g}: {number(energy['footprint']['wh'])} Wh", *told]
    return "; ".join([text, ", ".join(told)]) if told else text


def _pue(energy: dict[str, Any]) -> float:
    """Of the whole site over its devices, as it was asked for; 1 where nobody did."""
    totals, joules = energy.get("footprint"), energy["total_j"]
    if not totals or not totals["wh"] or not joules:
        return 1.0
    return float(f"{totals['wh'] * 3600 / joules:.6g}")


def _money(metrics: dict[str, Any]) -> str:
    cost = metrics["cost"]
    if cost is None or cost["usd"] is None or not metrics["completed"]:
        return ""
    text = _dollars(cost["usd"])
    million = cost["usd_per_million_output_tokens"]
    return text if million is None else f"{text}, {_dollars(million)} per million output tokens"


def _dollars(value: float) -> str:
    return f"${value:,.0f}" if value == 0 or value >= 1000 else f"${number(value)}"
