"""Prefix caches: which KV blocks of a workload's requests an engine would find, and keep.

The policies exist twice: `reference` is plain Python and takes a user's own policy, `kernel`
is compiled and gives the same answers. numba is imported when something is replayed.
"""

from servetwin.cache.policies import ENGINE_POLICIES, POLICIES, PolicyOptions, check_policy
from servetwin.cache.reference.policy import Block, EvictionPolicy, PolicyFactory
from servetwin.cache.replay import CacheReplay, replay
from servetwin.cache.trace import BlockTrace, block_trace

__all__ = [
    "ENGINE_POLICIES",
    "POLICIES",
    "Block",
    "BlockTrace",
    "CacheReplay",
    "EvictionPolicy",
    "PolicyFactory",
    "PolicyOptions",
    "block_trace",
    "check_policy",
    "replay",
]
