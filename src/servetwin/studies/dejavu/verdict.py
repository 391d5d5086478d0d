"""What a plan says: the largest speed-ups, and where which layout wins."""

from __future__ import annotations

from collections.abc import Sequence

from servetwin.studies.dejavu.model_info import ModelTimes
from servetwin.studies.dejavu.plan_files import Results
from servetwin.studies.dejavu.planning import KINDS

__all__ = ["Speedup", "seed_speedups", "speedup", "verdict"]

BASELINE, DP, DV = KINDS
PAIRS = {
    "SPEEDUP-DP": (BASELINE, DP),
    "SPEEDUP-DV-BASELINE": (BASELINE, DV),
    "SPEEDUP-DV-DP": (DP, DV),
}

Speedup = tuple[float, int]
"""How many times faster, and with how many machines."""


def speedup(results: Results, slower: str, faster: str) -> Speedup | None:
    """The largest quotient of makespans; None where the two never both fit."""
    return max(_quotients(results, slower, faster), default=None)


def seed_speedups(results: Results) -> list[str]:
    """The published plotter's lines, with the number of machines behind."""
    lines = []
    for name, pair in PAIRS.items():
        found = speedup(results, *pair)
        told = "no number of machines fits both" if found is None else f"{found[0]}"
        lines.append(f"{name}: {told}" + (f" ({found[1]} machines)" if found else ""))
    return lines


def verdict(results: Results, times: ModelTimes | None = None, tokens: float = 0.0) -> str:
    """A paragraph on where disaggregation wins and where data parallelism does.

    `tokens` is the mean number of generated tokens.
    """
    if not any(value for kind in KINDS for value in results.makespans[kind]):
        return (
            "Nothing fits: with no number of machines does a stage's share of the weights, with "
            "the KV caches of the smallest batch, fit into a machine; give machines more memory."
        )
    parts = [_against(results, DV, BASELINE), _against(results, DV, DP), _alone(results)]
    parts.append(_cheapest(results))
    if times is not None:
        parts.append(_why(times, tokens))
    return " ".join(part for part in parts if part)


def _quotients(results: Results, slower: str, faster: str) -> list[Speedup]:
    columns = (results.makespans[slower], results.makespans[faster], results.machines)
    return [(a / b, machines) for a, b, machines in zip(*columns, strict=True) if a and b]


def _against(results: Results, one: str, other: str) -> str:
    both = _quotients(results, other, one)
    if not both:
        return f"{one} and {other} never both fit."
    wins = [pair for pair in both if pair[0] > 1]
    losses = [pair for pair in both if pair[0] <= 1]
    text = f"{one} is faster than {other} "
    if not wins:
        return f"{text}nowhere: {_longer(losses)}."
    best = max(wins)
    most = f"{best[0]:.2f} times" if len(wins) == 1 else f"at most {best[0]:.2f} times ({best[1]})"
    text += f"with {_listed(wins)} machines, {most}"
    if not losses:
        return f"{text}, wherever both fit."
    return f"{text}; with {_listed(losses)} {_longer(losses)}."


def _longer(losses: Sequence[Speedup]) -> str:
    quotient, machines = min(losses)
    if len(losses) == 1:
        return f"it takes {1 / quotient:.2f} times as long"
    return f"it takes up to {1 / quotient:.2f} times as long ({machines})"


def _alone(results: Results) -> str:
    """Name the numbers of machines for which only one kind, or none, fits."""
    only: dict[str, list[int]] = {}
    for at, machines in enumerate(results.machines):
        fitting = [kind for kind in KINDS if results.makespans[kind][at]]
        if len(fitting) < 2:
            only.setdefault(fitting[0] if fitting else "nothing", []).append(machines)
    told = [f"only {kind} fits" if kind != "nothing" else "nothing fits" for kind in only]
    parts = [
        f"with {', '.join(map(str, counts))} {'machine' if counts == [1] else 'machines'} {text}"
        for text, counts in zip(told, only.values(), strict=True)
    ]
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}." if parts else ""


def _cheapest(results: Results) -> str:
    """Machine-hours decide, which need no price."""
    hours = [
        (makespan * machines / 3600, machines, kind)
        for kind in KINDS
        for makespan, machines in zip(results.makespans[kind], results.machines, strict=True)
        if makespan
    ]
    if not hours:
        return ""
    least, machines, kind = min(hours)
    noun = "machine" if machines == 1 else "machines"
    return f"The fewest machine-hours, {least:.3g}, are those of {kind} with {machines} {noun}."


def _why(times: ModelTimes, tokens: float) -> str:
    batch = times.batch_sizes[-1]
    prompt, decode = times.prompt_ms[batch], times.token_ms[batch] * tokens
    share = prompt / (prompt + decode)
    return (
        f"With batches of {batch} a prompt takes {prompt:,.0f} ms, as long as "
        f"{prompt / times.token_ms[batch]:.0f} tokens, and {share:.0%} of all the work: in a "
        "shared ring every token behind a prompt waits that long, which data parallelism makes "
        "rarer in each ring, with more weights in each machine's memory, and disaggregation ends, "
        "with machines that suit only one of the two."
    )


def _listed(pairs: Sequence[Speedup]) -> str:
    counts = sorted(machines for _, machines in pairs)
    if len(counts) == 1:
        return str(counts[0])
    return f"{', '.join(map(str, counts[:-1]))} and {counts[-1]}"
