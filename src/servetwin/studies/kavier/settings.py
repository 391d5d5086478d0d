"""What one simulation is asked for, and sweeps: every combination of the lists given."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from servetwin.errors import InputError, nearest
from servetwin.studies.kavier.forms import NO_CORRECTION
from servetwin.studies.kavier.pasted import choices

if TYPE_CHECKING:
    from servetwin.cache.prompt_cache import PromptCache

__all__ = ["DEFAULTS", "NO_PREFIX_CACHE", "KavierRun", "Sweep", "sweep_of"]

FORMULAS = ("kavier", "servetwin")
NO_PREFIX_CACHE = 1_000_000
"""Tokens that the document gives as prefix size to mean none."""
MOST_RUNS = 1000


@dataclass(frozen=True)
class KavierRun:
    """One simulation, its settings named as their flags."""

    llm: str
    gpu: str
    trace: str
    kv_cache: bool = True
    export_rate: float = 0.1
    """Seconds."""
    flush_size: int = 1000
    """Rows."""
    prefix_cache_min_tokens: int = 1024
    max_cached_prompts: int = 10
    cache_scope: str = "session"
    prefix_cache_policy: str = "none"
    cache_variant: str = "per-session"
    model: str = "kavier"
    """Whose formulas."""
    correction: str = NO_CORRECTION
    """A packaged correction of `servetwin`."""

    @property
    def caches_prefixes(self) -> bool:
        """Whether any prompt can hit."""
        return self.prefix_cache_policy != "none" and (
            self.prefix_cache_min_tokens < NO_PREFIX_CACHE
        )

    def prompt_cache(self) -> PromptCache:
        """The same settings as the prompt cache takes them. Raises InputError."""
        from servetwin.cache.prompt_cache import PromptCache

        return PromptCache(
            min_tokens=self.prefix_cache_min_tokens,
            max_prompts=self.max_cached_prompts,
            scope=self.cache_scope,
            policy=self.prefix_cache_policy,
            sharing=self.cache_variant,
        )

    def described(self) -> dict[str, Any]:
        """Settings as the flags spell them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "kv_cache": "on" if self.kv_cache else "off"}


DEFAULTS = KavierRun("", "", "").described()


@dataclass(frozen=True)
class Sweep:
    """Runs in the order of the lists, the last flag changing fastest."""

    runs: tuple[KavierRun, ...]
    varied: tuple[str, ...]
    """Flags that were given a list."""
    notes: tuple[str, ...]


def sweep_of(given: Mapping[str, str | None]) -> Sweep:
    """Read every flag, each a value or a list; None leaves the default.

    Raises InputError that names the flag, and where model, GPU or trace are missing.
    """
    lists: dict[str, list[Any]] = {}
    notes: list[str] = []
    for name, example in (("llm", "Llama-3-8B"), ("gpu", "A10"), ("trace", "FILE")):
        if not given.get(name):
            raise InputError(f"--{name} is missing: give --{name} {example}")
    for name, text in given.items():
        if text is not None:
            values = [_value(name, part, notes) for part in choices(f"--{name}", text)]
            lists[name] = list(dict.fromkeys(values))
    count = math.prod(map(len, lists.values()))
    if count > MOST_RUNS:
        raise InputError(f"the lists make {count:,} runs, at most {MOST_RUNS:,} fit")
    combinations = itertools.product(*lists.values())
    runs = [KavierRun(**dict(zip(lists, chosen, strict=True))) for chosen in combinations]
    for run in runs:
        run.prompt_cache()
    varied = tuple(name for name, values in lists.items() if len(values) > 1)
    return Sweep(tuple(_without_twins(runs, notes)), varied, tuple(notes))


def _without_twins(runs: list[KavierRun], notes: list[str]) -> list[KavierRun]:
    """Keep one of the runs without prefix cache that differ in the size of that cache."""
    kept: dict[KavierRun, KavierRun] = {}
    for run in runs:
        key = run if run.caches_prefixes else replace(run, max_cached_prompts=0)
        kept.setdefault(key, run)
    if len(kept) < len(runs):
        notes.append("without prefix cache its size does not matter: run once")
    return list(kept.values())


def _value(name: str, text: str, notes: list[str]) -> Any:
    from servetwin.cache.prompt_cache import POLICIES, SCOPES, SHARINGS

    match name:
        case "kv_cache":
            return _choice(name, text.casefold(), ("on", "off")) == "on"
        case "export_rate":
            return _seconds(name, text)
        case "prefix_cache_min_tokens":
            return _prefix(name, text, notes)
        case "flush_size" | "max_cached_prompts":
            return _whole(name, text)
        case "model":
            return _choice(name, text.casefold(), FORMULAS)
        case "cache_scope":
            return _choice(name, text.casefold(), SCOPES)
        case "prefix_cache_policy":
            return _choice(name, text.casefold(), POLICIES)
        case "cache_variant":
            return _choice(name, text.casefold(), SHARINGS)
        case "correction":
            return text.casefold()
    return text


def _choice(name: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        hint = nearest(text, known) or f"choose {' or '.join(known)}"
        raise InputError(f"--{name} '{text}' is not known: {hint}")
    return text


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise InputError(f"--{name} '{text[:40]}': a whole number from 1 to 999,999,999 is needed")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise InputError(f"--{name} '{text}': seconds above 0 are needed, such as 0.1")
    return value


def _prefix(name: str, text: str, notes: list[str]) -> int:
    """The document's 4092 is a slip for 4096, and `none` its word for no prefix cache."""
    if text.casefold() == "none":
        return NO_PREFIX_CACHE
    if text == "4092":
        notes.append(f"--{name} 4092 is taken as 4096, which the published results are for")
        return 4096
    return _whole(name, text)
