"""The policies in pure Python: what the kernel must equal, and where own ones plug in."""

from servetwin.cache.reference.policies import Fifo, FlopAware, Lfu, S3Fifo, VllmLru
from servetwin.cache.reference.policy import Block, EvictionPolicy, PolicyFactory
from servetwin.cache.reference.pool import BlockPool
from servetwin.cache.reference.replays import make_pool, replay

__all__ = [
    "Block",
    "BlockPool",
    "EvictionPolicy",
    "Fifo",
    "FlopAware",
    "Lfu",
    "PolicyFactory",
    "S3Fifo",
    "VllmLru",
    "make_pool",
    "replay",
]
