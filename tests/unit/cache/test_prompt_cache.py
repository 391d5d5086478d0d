"""The prompt cache against an ordered dictionary, and the keys a workload gives."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.cache.prompt_cache import (
    SCOPES,
    SHARINGS,
    PromptCache,
    PromptKeys,
    look_up,
    prompt_keys,
)
from servetwin.errors import InputError
from servetwin.types import BlockHashes, Workload


def by_hand(keys: list[int], sessions: list[int], settings: PromptCache) -> tuple[list[bool], int]:
    """Hits and evictions of plain LRUs."""
    lists: dict[int, OrderedDict[tuple[int, ...], None]] = {}
    hits, evictions = [], 0
    for key, session in zip(keys, sessions, strict=True):
        if key < 0:
            hits.append(False)
            continue
        local = settings.scope == "session"
        own = session if local and settings.sharing == "per-session" else -1
        lru = lists.setdefault(own, OrderedDict())
        name = (key, session) if local else (key,)
        hits.append(name in lru)
        if name in lru:
            lru.move_to_end(name)
            continue
        if len(lru) == settings.max_prompts:
            lru.popitem(last=False)
            evictions += 1
        lru[name] = None
    return hits, evictions


LOOKUPS = st.lists(st.tuples(st.integers(-1, 9), st.integers(0, 4)), min_size=1, max_size=120)


@given(LOOKUPS, st.integers(1, 6), st.sampled_from(SCOPES), st.sampled_from(SHARINGS),
       st.sampled_from([1, 10**14]), st.sampled_from([1, -3]))  # fmt: skip
def test_hits_are_those_of_ordered_dictionaries(rows, capacity, scope, sharing, far, label):
    settings = PromptCache(1, capacity, scope, "prefill", sharing)
    keys = [key * far if key >= 0 else -1 for key, _ in rows]
    sessions = [session * label for _, session in rows]
    found = look_up(PromptKeys(np.array(keys, np.int64), 1), settings, np.array(sessions))
    assert (found.hit.tolist(), found.evictions) == by_hand(keys, sessions, settings)
    assert found.cacheable == sum(key >= 0 for key in keys)


def test_sessions_do_not_push_each_other_out_unless_shared():
    keys = PromptKeys(np.array([1, 2, 3, 1, 2, 3]), 1)
    sessions = np.array([0, 1, 2, 0, 1, 2])
    apart = look_up(keys, PromptCache(1, 1), sessions)
    together = look_up(keys, PromptCache(1, 1, sharing="shared-lru"), sessions)
    assert (apart.hits, apart.evictions) == (3, 0)
    assert (together.hits, together.evictions) == (0, 5)


def test_policy_none_reports_no_hits():
    keys = PromptKeys(np.array([4, 4, 4]), 1)
    assert look_up(keys, PromptCache(1, policy="none")).hits == 0
    assert look_up(keys, PromptCache(1)).hits == 2


def test_without_sessions_all_are_one():
    keys = PromptKeys(np.array([4, 4]), 1)
    assert look_up(keys, PromptCache(1)).hit.tolist() == [False, True]


def workload(
    inputs: list[int], blocks: list[list[int]], size: int, scope: str = "global"
) -> Workload:
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in blocks])]).astype(np.int64)
    ids = np.array([i for row in blocks for i in row], np.int64)
    n = len(inputs)
    return Workload(
        np.zeros(n, np.int64),
        np.array(inputs, np.int32),
        np.ones(n, np.int32),
        block_hashes=BlockHashes(offsets, ids, size, scope),
    )


def test_a_key_is_the_block_that_completes_the_prefix():
    asked = workload([32, 40, 31, 64], [[5, 6], [5, 7, 8], [5, 9], []], 16)
    keys = prompt_keys(asked, 32)
    assert keys.key.tolist() == [6, 7, -1, -1]
    assert keys.shared_tokens == 32
    assert keys.notes == ()
    assert prompt_keys(asked, 16).key.tolist() == [5, 5, 5, -1]


def test_prefixes_between_blocks_are_rounded_up_and_it_says_so():
    keys = prompt_keys(workload([1024, 1023], [[1, 2], [1, 2]], 512), 600)
    assert keys.key.tolist() == [2, -1]
    assert keys.shared_tokens == 1024
    assert "600 counts as 1,024" in keys.notes[0]


def test_ids_local_to_a_session_never_hit_in_another():
    asked = workload([16, 16, 16], [[3], [3], [3]], 16, "session")
    keys = prompt_keys(asked, 16)
    found = look_up(keys, PromptCache(16, scope="global"), np.array([1, 2, 1]))
    assert found.hit.tolist() == [False, False, True]


def test_a_trace_without_prefixes_says_so():
    asked = Workload(np.zeros(2, np.int64), np.ones(2, np.int32), np.ones(2, np.int32))
    keys = prompt_keys(asked, 16)
    assert (keys.key == -1).all()
    assert "no prefixes" in keys.notes[0]


def test_a_prefix_longer_than_its_prompt():
    keys = PromptKeys(np.array([-1, 3]), 100)
    keys.check(np.array([5, 100]))
    with pytest.raises(InputError, match=r"request 1: a prefix of 100 .* prompt of 99"):
        keys.check(np.array([5, 99]))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"min_tokens": 0}, "prefix_cache_min_tokens 0"),
        ({"min_tokens": 1.5}, "prefix_cache_min_tokens 1.5"),
        ({"max_prompts": -1}, "max_cached_prompts -1"),
        ({"max_prompts": True}, "max_cached_prompts True"),
        ({"scope": "sessions"}, "did you mean session"),
        ({"policy": "all"}, "known: none, prefill, full|did you mean"),
        ({"sharing": "shared"}, "did you mean shared-lru"),
    ],
)
def test_impossible_settings(change, named):
    with pytest.raises(InputError, match=named):
        PromptCache(**change)


def test_sessions_must_be_whole_numbers():
    keys = PromptKeys(np.array([1, 2]), 1)
    for sessions in ([0], [0.5, 1.0]):
        with pytest.raises(InputError, match="one whole number for each of the 2"):
            look_up(keys, PromptCache(1), sessions)
