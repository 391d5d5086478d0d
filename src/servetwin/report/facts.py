"""What was run, in words: the deployment, its workload and where its costs come from."""

from __future__ import annotations

from typing import Any

from servetwin.report.engine_wording import cost_line, memory_line
from servetwin.report.group_wording import also_line
from servetwin.report.wording import number, printable

__all__ = ["facts"]


def facts(summary: dict[str, Any]) -> dict[str, str]:
    """Say what was run, as labels and lines of text; what is unknown is left out."""
    config, workload = summary["config"], summary["workload"]
    lines = {
        "Model": _join(config.get("model"), _prefixed(config, ("weight_dtype", "quantization"))),
        "GPU": _hardware(config),
        "Also": also_line(config),
        "Decode": _decode_pool(config),
        "Engine": _engine(config),
        "Front end": _frontend(config.get("frontend")),
        "Memory": memory_line(summary),
        "KV tiers": _tiers(config),
        "Workload": _join(workload.get("dataset") or workload.get("name"), _load(workload)),
        "Source": workload.get("source"),
        "Costs": cost_line(summary),
    }
    return {label: printable(line) for label, line in lines.items() if line}


def _hardware(config: dict[str, Any]) -> str:
    layout = [f"{name} {config[name]}" for name in ("tp", "pp", "ep", "dp") if name in config]
    shown = [text for text in layout if text.startswith("tp") or not text.endswith(" 1")]
    if isinstance(count := config.get("microbatches"), int) and config.get("pp", 1) > 1:
        shown.append(_several(count, "microbatch", "es"))
    replicas, router = config.get("replicas", 1), config.get("router", "unknown router")
    if config.get("decode_replicas"):
        shown.append(f"{_several(replicas, 'prefill replica')} ({router})")
    elif replicas != 1 or config.get("also"):
        shown.append(f"{_several(replicas, 'replica')} ({router})")
    return _join(config.get("gpu"), *shown)


def _frontend(text: Any) -> str:
    """Say what requests take before an engine sees them, from `8000.0us,5.0us`; "" for nothing."""
    if text == "none":
        return "none: requests reach the engine as they arrive"
    times = str(text).split(",")
    if len(times) != 2:
        return ""
    request, token = (float(time.removesuffix("us")) for time in times)
    return f"{request / 1e3:.3g} ms a request, {token:.3g} µs an input token"


def _several(count: int, what: str, plural: str = "s") -> str:
    return f"{count:,} {what}{'' if count == 1 else plural}"


def _decode_pool(config: dict[str, Any]) -> str:
    """Say where requests decode, and what their KV blocks come over; "" with one pool."""
    replicas = config.get("decode_replicas")
    if not _whole(replicas):
        return ""
    names = {f"decode_{name}": name for name in ("tp", "pp", "ep", "dp")}
    sizes = [f"{name} {config[key]}" for key, name in names.items() if config.get(key)]
    shown = [text for text in sizes if text.startswith("tp") or not text.endswith(" 1")]
    shown.append(f"{_several(int(str(replicas)), 'replica')} ({config.get('decode_router')})")
    when = "layer by layer" if config.get("kv_transfer") == "layerwise" else "after the prompt"
    return _join(config.get("decode_gpu"), *shown, f"KV over {config.get('kv_link')}, {when}")


def _engine(config: dict[str, Any]) -> str:
    named = {
        "max_num_seqs": "sequences",
        "max_num_batched_tokens": "tokens an iteration",
        "max_model_len": "tokens a request",
    }
    limits = [f"{config[key]:,} {what}" for key, what in named.items() if _whole(config.get(key))]
    if _whole(config.get("dp")) and config["dp"] > 1:
        limits.append(f"on each of {config['dp']} dp ranks")
    if config.get("enforce_eager"):
        limits.append("eager, without CUDA graphs")
    elif _whole(captured := config.get("max_cudagraph_capture_size")):
        limits.append(f"CUDA graphs up to {captured:,} tokens")
    scheduler = config.get("scheduler") or config.get("engine")
    if config.get("scheduling_policy") == "priority":
        limits.insert(0, "by priority")
    return _join(f"{scheduler} scheduler" if scheduler else None, *limits)


def _tiers(config: dict[str, Any]) -> str:
    """Tiers in full, as `--kv-tier` takes them: what was left open has been decided."""
    pools = {"": config.get("kv_tier"), "decode ": config.get("decode_kv_tier")}
    return "; ".join(
        f"{pool}{tier}"
        for pool, tiers in pools.items()
        for tier in (tiers if isinstance(tiers, list) else ())
    )


def _load(workload: dict[str, Any]) -> str:
    parts = []
    if _whole(workload.get("requests")):
        parts.append(f"{workload['requests']:,} requests")
    parts.append(_arrivals(workload))
    for key, label in (("input_tokens", "ISL"), ("output_tokens", "OSL")):
        lengths = workload.get(key)
        mean = lengths.get("mean") if isinstance(lengths, dict) else lengths
        if isinstance(mean, int | float):
            parts.append(f"mean {label} {number(float(mean))}")
    return _join(*parts)


def _arrivals(workload: dict[str, Any]) -> str:
    """Say how fast requests come, or that they wait for each other."""
    rps, requests, after = (workload.get(key) for key in ("rps", "requests", "follow_ups"))
    rate = f"{number(float(rps))}/s" if isinstance(rps, int | float) else ""
    if not isinstance(requests, int) or requests < 2:
        return rate
    if isinstance(after, int) and after:
        first = f"{requests - after:,} begin {f'at {rate}' if rate else 'at once'}"
        return f"closed loop ({first}, {after:,} follow an answer)"
    return "all at once" if workload.get("span_s") == 0 else rate


def _prefixed(config: dict[str, Any], keys: tuple[str, ...]) -> str:
    values = [str(config[key]) for key in keys if config.get(key)]
    return f"{values[-1]} weights" if values else ""


def _join(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
