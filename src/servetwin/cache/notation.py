"""KV tiers as text: `host=64GB@25GB/s,latency=10us`, what one types after `--kv-tier`.

A name, a capacity in bytes or blocks, and where the defaults do not fit, a bandwidth or the
link that has it, a latency and an eviction policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from servetwin.cache.policies import check_policy
from servetwin.cache.tiers import TIER_POLICIES
from servetwin.catalog import find_link
from servetwin.errors import InputError, nearest
from servetwin.types import KVTier, Link
from servetwin.workload.notation import parse_duration

__all__ = [
    "DEFAULT_LINKS",
    "assumed_speeds",
    "misplaced",
    "parse_link",
    "parse_tier",
    "write_link",
    "write_tier",
]

DEFAULT_LINKS = {"host": "PCIe5", "ssd": "NVMe-PCIe4", "remote": "InfiniBand-NDR"}
"""Link whose bandwidth and latency a tier has where none is given; see the catalog's sources."""

EXAMPLE = "host=64GB@25GB/s,latency=10us"

SIZES = {
    **{unit: 1000**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb", "pb"))},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), 1)},
}

BITS = re.compile(r"([0-9.]+)\s*([kMGTP]i?)(?:b|bits?)\s*(/\s*s|ps)?")
"""Network speeds are often in bits: `25Gb/s`. Lower case throughout, `64gb`, means bytes."""

LARGEST = 10**18
"""Bytes, blocks or bytes/s; more is taken for a slip."""


def parse_tier(text: str) -> KVTier:
    """Read `NAME=CAPACITY[@BANDWIDTH][,latency=TIME][,policy=NAME]`.

    CAPACITY is `64GB` or `4000blocks`; BANDWIDTH is `25GB/s` or the name of a link, whose
    latency then holds too. Raises InputError.
    """
    head, *parts = text.split(",")
    match = re.fullmatch(r"\s*([A-Za-z][\w-]*)\s*=\s*([^@]+?)\s*(?:@\s*(.+?)\s*)?", head)
    if match is None:
        raise InputError(f"KV tier {text[:60]!r} is not understood: write {EXAMPLE}")
    name = match[1].casefold()
    for given in (match[2], match[3] or ""):
        _no_bits(f"KV tier {text[:60]!r}", given)
    capacity, in_blocks = _capacity(match[2], text)
    bandwidth, latency = _speed(name, match[3], text)
    policy = "vllm-lru"
    for part in parts:
        key, _, value = (word.strip() for word in part.partition("="))
        if key == "latency":
            latency = _latency(value, text)
        elif key == "policy":
            policy = check_policy(value, TIER_POLICIES)
        else:
            raise InputError(
                f"KV tier {text[:60]!r}: '{key[:20]}' is not known: after the bandwidth may come "
                "latency=10us and policy=lfu"
            )
    return KVTier(name, capacity, bandwidth, latency, in_blocks, policy)


def assumed_speeds(texts: Iterable[str]) -> str:
    """Say which tiers have the bandwidth of a usual link, since none is given; "" if no tier."""
    links = {}
    for text in texts:
        head = text.partition(",")[0]
        name = head.partition("=")[0].strip().casefold()
        if "@" not in head and name in DEFAULT_LINKS:
            links[name] = find_link(DEFAULT_LINKS[name])
    if not links:
        return ""
    told = ", ".join(
        f"{name} that of {link.name} ({link.bandwidth / 1e9:.3g} GB/s)"
        for name, link in links.items()
    )
    older = "; GPUs with PCIe4, such as the A100, reach half: @PCIe4" if "host" in links else ""
    return f"KV tiers without a bandwidth have a usual one: {told}{older}"


def misplaced(tiers: Sequence[KVTier]) -> str:
    """Say which tier stands before a faster one, since the nearest comes first; "" if none."""
    for near, far in pairwise(tiers):
        if near.bandwidth < far.bandwidth:
            speeds = [f"{tier.name} ({tier.bandwidth / 1e9:.3g} GB/s)" for tier in (near, far)]
            return f"KV tier {speeds[0]} stands before {speeds[1]}: blocks reach the slower first"
    return ""


def write_tier(tier: KVTier) -> str:
    """Write a tier in full, so that `parse_tier` gives the same."""
    capacity = f"{tier.capacity}blocks" if tier.in_blocks else _bytes(tier.capacity)
    text = f"{tier.name}={capacity}@{_bytes(tier.bandwidth)}/s,latency={_duration(tier.latency)}"
    return text if tier.policy == "vllm-lru" else f"{text},policy={tier.policy}"


def parse_link(text: str) -> Link:
    """Read the name of a link, or `50GB/s` with `,latency=5us` behind it. Raises InputError."""
    rate, *parts = (part.strip() for part in text.split(","))
    _no_bits(f"link {text[:60]!r}", rate)
    speed = re.fullmatch(r"(.+?)\s*/\s*s", rate)
    if speed is None and (match := re.fullmatch(r"([\d.]+)\s*([KMGT]i?B)p?s", rate, re.I)):
        raise InputError(f"link {text[:60]!r} is not understood: write {match[1]}{match[2]}/s")
    if speed is None and not parts:
        return find_link(rate)
    bandwidth = _size(speed[1]) if speed else None
    key, _, latency = (word.strip() for word in (parts or ["latency=0s"])[0].partition("="))
    if not bandwidth or len(parts) > 1 or key != "latency":
        raise InputError(
            f"link {text[:60]!r} is not understood: write 50GB/s or 50GB/s,latency=5us, or a name "
            "(servetwin catalog links lists them)"
        )
    link = Link(text, bandwidth, _latency(latency, text))
    return replace(link, name=_written(link))


def write_link(link: Link) -> str:
    """Write a link so that `parse_link` gives the same."""
    try:
        known = find_link(link.name)
    except InputError:
        return _written(link)
    return link.name if known == link else _written(link)


def _written(link: Link) -> str:
    rate = f"{_bytes(link.bandwidth)}/s"
    return f"{rate},latency={_duration(link.latency)}" if link.latency else rate


def _number(text: str) -> float | None:
    """Read a number of 0 to LARGEST, or None."""
    if not re.fullmatch(r"\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?", text):
        return None
    value = float(text)
    return value if value <= LARGEST else None


def _no_bits(what: str, text: str) -> None:
    """Refuse bits, by telling how many bytes they are."""
    match = BITS.fullmatch(text)
    if match is None:
        return
    number, rate = _number(match[1]), "/s" if match[3] else ""
    right = "bytes, such as 25GB" if number is None else f"{number / 8:g}{match[2]}B"
    raise InputError(f"{what}: '{text[:20]}' is in bits: write {right}{rate}")


def _size(text: str) -> float | None:
    """Read bytes with their unit, or None."""
    match = re.fullmatch(r"([0-9.e+-]+)\s*([kmgtp]?i?b)", text.casefold())
    if match is None or match[2] not in SIZES:
        return None
    number = _number(match[1])
    return None if number is None else _number(repr(number * SIZES[match[2]]))


def _capacity(text: str, whole: str) -> tuple[int, bool]:
    blocks = re.fullmatch(r"([0-9.e+-]+)\s*blocks?", text.casefold())
    size = _number(blocks[1]) if blocks else _size(text)
    if size is None or (blocks and not size.is_integer()):
        raise InputError(
            f"KV tier {whole[:60]!r}: '{text[:20]}' is no capacity: write 64GB, 512GiB or "
            "4000blocks"
        )
    return int(size), blocks is not None


def _speed(name: str, text: str | None, whole: str) -> tuple[float, float]:
    """Bandwidth and latency, as given or as those of a link."""
    if text is None and name not in DEFAULT_LINKS:
        hint = nearest(name, DEFAULT_LINKS) or f"known are {', '.join(DEFAULT_LINKS)}"
        raise InputError(
            f"KV tier {whole[:60]!r}: '{name[:20]}' has no bandwidth of its own ({hint}); "
            f"write one: {name[:20]}=64GB@25GB/s"
        )
    rate = re.fullmatch(r"(.+?)\s*/\s*s", text or "")
    bandwidth = _size(rate[1]) if rate else None
    if bandwidth is not None:
        usual = DEFAULT_LINKS.get(name)
        return bandwidth, find_link(usual).latency if usual else 0.0
    try:
        link = find_link(text or DEFAULT_LINKS[name])
    except InputError as error:
        raise InputError(
            f"KV tier {whole[:60]!r}: bandwidth must be written 25GB/s, or name a link: {error}"
        ) from None
    return link.bandwidth, link.latency


def _latency(text: str, whole: str) -> float:
    try:
        # Plain seconds are right elsewhere; among GB/s and us, a bare 10 is a slip.
        seconds = parse_duration(text) if not text[-1:].isdigit() or text == "0" else -1.0
    except InputError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise InputError(f"{whole[:60]!r}: '{text[:20]}' is no latency: write 10us, 1ms or 0s")
    return seconds


def _bytes(value: float) -> str:
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        text = f"{value / unit:.9g}"
        if value >= unit and "e" not in text and float(text) * unit == value:
            return f"{text}{name}"
    return f"{value!r}B"


def _duration(seconds: float) -> str:
    for unit, name in ((1e-6, "us"), (1e-3, "ms")):
        text = f"{seconds / unit:.9g}"
        if "e" not in text and seconds and float(text) * unit == seconds:
            return f"{text}{name}"
    return f"{seconds!r}s"
