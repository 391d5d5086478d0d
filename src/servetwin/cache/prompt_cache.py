"""A cache of whole prompt prefixes: hit or miss on a prompt's first tokens, LRU.

This is the cache of the per-request mode. The engines' cache of KV blocks is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servetwin.errors import InputError, nearest
from servetwin.types import Workload
from servetwin.types.workload import MAX_TOKENS
from servetwin.units import ceil_div

__all__ = [
    "NOT_CACHEABLE",
    "POLICIES",
    "SCOPES",
    "SHARINGS",
    "PromptCache",
    "PromptHits",
    "PromptKeys",
    "look_up",
    "prompt_keys",
]

Ints = NDArray[np.int64]

NOT_CACHEABLE = -1
SCOPES = ("session", "global")
POLICIES = ("none", "prefill", "full")
SHARINGS = ("per-session", "shared-lru")


@dataclass(frozen=True)
class PromptCache:
    """Settings, as the flags `--prefix_cache_min_tokens` and so on name them."""

    min_tokens: int = 1024
    """Length of a cached prefix, tokens; a shorter prompt is neither found nor kept."""
    max_prompts: int = 10
    """Prefixes one LRU keeps."""
    scope: str = "session"
    """`session`: a prefix is found only by the session that left it; `global`: by all."""
    policy: str = "prefill"
    """What a hit skips: nothing, the prefill, or the decode as well (`full`)."""
    sharing: str = "per-session"
    """In scope `session`: an LRU for each session, or `shared-lru`, the original's one LRU
    over all sessions with the session in the key."""

    def __post_init__(self) -> None:
        _check_count("prefix_cache_min_tokens", self.min_tokens, MAX_TOKENS)
        _check_count("max_cached_prompts", self.max_prompts, 2**31 - 1)
        _check_choice("cache_scope", self.scope, SCOPES)
        _check_choice("prefix_cache_policy", self.policy, POLICIES)
        _check_choice("prompt cache sharing", self.sharing, SHARINGS)


def _check_count(name: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{name} {value}: a whole number between 1 and {most:,} is needed")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        hint = nearest(str(value), known) or f"known: {', '.join(known)}"
        raise InputError(f"{name} '{value}' is not known: {hint}")


@dataclass(frozen=True)
class PromptKeys:
    """What identifies the first `shared_tokens` of each prompt.

    `key` has shape (requests,): equal numbers mean equal prefixes, NOT_CACHEABLE a prompt
    that is too short or whose tokens nobody knows.
    """

    key: Ints
    shared_tokens: int
    local: bool = False
    """Keys are comparable only within a session."""
    notes: tuple[str, ...] = ()

    def check(self, input_tokens: NDArray[Any]) -> None:
        """Raise InputError where a key claims a prefix longer than its prompt."""
        if self.key.shape != input_tokens.shape:
            raise InputError(
                f"prefix keys: {self.key.size} of them for {input_tokens.size} requests; "
                "one for each is needed"
            )
        wrong = (self.key >= 0) & (input_tokens < self.shared_tokens)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"request {row}: a prefix of {self.shared_tokens:,} tokens is longer than its "
                f"prompt of {int(input_tokens[row]):,}"
            )


@dataclass(frozen=True)
class PromptHits:
    """What a look-up of all prompts in order found."""

    hit: NDArray[np.bool_]
    cacheable: int
    """Prompts that could have hit."""
    evictions: int

    @property
    def hits(self) -> int:
        """Prompts that did hit."""
        return int(np.count_nonzero(self.hit))


def prompt_keys(workload: Workload, min_tokens: int) -> PromptKeys:
    """Take as key the id of the block with which the first `min_tokens` are complete.

    Block ids stand for everything before them, so one id is the whole prefix. Where blocks
    do not end at `min_tokens`, the prefix is rounded up to whole blocks; a note says so.
    """
    hashes = workload.block_hashes
    n = len(workload)
    if hashes is None:
        note = "the trace names no prefixes (token lists or block hashes): no prompt can hit"
        return PromptKeys(np.full(n, NOT_CACHEABLE), min_tokens, notes=(note,))
    blocks = ceil_div(min_tokens, hashes.block_tokens)
    shared = blocks * hashes.block_tokens
    known = np.diff(hashes.offsets) >= blocks
    known &= workload.input_tokens >= shared
    key = np.full(n, NOT_CACHEABLE)
    key[known] = hashes.ids[hashes.offsets[:-1][known] + blocks - 1]
    notes: tuple[str, ...] = ()
    if shared != min_tokens:
        notes = (
            f"prefixes are compared in blocks of {hashes.block_tokens} tokens: "
            f"{min_tokens:,} counts as {shared:,}",
        )
    return PromptKeys(key, shared, hashes.scope == "session", notes)


def look_up(
    keys: PromptKeys, settings: PromptCache, sessions: ArrayLike | None = None
) -> PromptHits:
    """Look up every prompt in order; a miss enters it and may evict the least recently used.

    `sessions` has one whole number a request; without it all requests are one session.
    Policy `none` finds nothing, since nothing is looked up.
    """
    cacheable = int(np.count_nonzero(keys.key >= 0))
    if settings.policy == "none" or not cacheable:
        return PromptHits(np.zeros(keys.key.size, np.bool_), cacheable, 0)
    session = _dense(sessions, keys.key.size)
    local = settings.scope == "session"
    label = session if local or keys.local else np.zeros(1, np.int64)
    separate = local and settings.sharing == "per-session"
    lists = int(session.max()) + 1 if separate else 1
    hit = np.zeros(keys.key.size, np.bool_)
    slots = 1 << max(4, (2 * cacheable - 1).bit_length())
    evictions = _compiled()(
        keys.key,
        label,
        separate,
        settings.max_prompts,
        np.full(slots, -1, np.int32),
        tuple(np.empty(cacheable, np.int64) for _ in range(2)),
        tuple(np.empty(cacheable, np.int32) for _ in range(2)),
        np.zeros(cacheable, np.bool_),
        tuple(np.full(lists, fill, np.int32) for fill in (-1, -1, 0)),
        hit,
    )
    return PromptHits(hit, cacheable, int(evictions))


def _dense(sessions: ArrayLike | None, n: int) -> Ints:
    """Session labels as numbers from 0 that index arrays; a single 0 where all are one."""
    if sessions is None:
        return np.zeros(1, np.int64)
    given = np.asarray(sessions)
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise InputError(f"sessions: one whole number for each of the {n} requests is needed")
    if given.min() >= 0 and given.max() < 2 * n:
        return given.astype(np.int64)
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


@cache
def _compiled() -> Callable[..., int]:
    from servetwin.cache.kernel.compile import cache_folder, entry_of

    return entry_of(cache_folder([Path(__file__)]))(_replay)


def _replay(
    keys: Ints,
    labels: Ints,
    separate: bool,
    capacity: int,
    slots: NDArray[np.int32],
    names: tuple[Ints, Ints],
    links: tuple[NDArray[np.int32], NDArray[np.int32]],
    resident: NDArray[np.bool_],
    lists: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    hit: NDArray[np.bool_],
) -> int:
    """Replay the look-ups; returns the evictions and marks `hit`.

    A hash table (`slots`, open addressing) numbers the distinct (key, label) pairs, kept in
    `names`. Those resident form one intrusive list an LRU: `links` are the numbers used just
    after and just before, `lists` each list's newest, oldest and length.
    """
    key_of, label_of = names
    newer, older = links
    newest, oldest, length = lists
    mask = slots.size - 1
    known = 0
    evictions = 0
    for i in range(keys.size):
        key = keys[i]
        if key < 0:
            continue
        label = labels[i] if labels.size > 1 else 0
        mixed = key * 0x1E3779B97F4A7C15 + label * 0x3F58476D1CE4E5B9
        mixed ^= mixed >> 29
        place = (mixed * 0x14D049BB133111EB >> 20) & mask
        while slots[place] >= 0:
            entry = slots[place]
            if key_of[entry] == key and label_of[entry] == label:
                break
            place = (place + 1) & mask
        entry = slots[place]
        if entry < 0:
            entry = known
            known += 1
            slots[place] = entry
            key_of[entry] = key
            label_of[entry] = label
        here = label if separate else 0
        if resident[entry]:
            hit[i] = True
            if newest[here] == entry:
                continue
            after, before = newer[entry], older[entry]
            older[after] = before
            if before >= 0:
                newer[before] = after
            else:
                oldest[here] = after
        else:
            if length[here] == capacity:
                victim = oldest[here]
                resident[victim] = False
                oldest[here] = newer[victim]
                if oldest[here] >= 0:
                    older[oldest[here]] = -1
                else:
                    newest[here] = -1
                evictions += 1
            else:
                length[here] += 1
            resident[entry] = True
        top = newest[here]
        older[entry] = top
        newer[entry] = -1
        if top >= 0:
            newer[top] = entry
        else:
            oldest[here] = entry
        newest[here] = entry
    return evictions
