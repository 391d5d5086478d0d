"""What an eviction policy is: the interface by which a user writes an own one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Block", "EvictionPolicy", "PolicyFactory"]


@dataclass(eq=False)
class Block:
    """A KV block. Policies may read it; only the pool changes it."""

    refs: int = 1
    """Running requests that use it; only a block that nobody uses may be evicted."""
    id: int | None = None
    """What it holds; None while it is being filled, or for what nobody can ask for again."""
    depth: int = 0
    """Blocks before it in its prefix."""
    parent: Block | None = None
    """The block before it, where that was cached when this one was named."""


class EvictionPolicy(Protocol):
    """Decides which unused block goes when room is needed.

    Of one block the policy hears, in this order: `insert`, once; `touch` for each further
    request that refers to it; `release` each time its last user has gone, the end of a
    prefix before its beginning. `evict` returns a block with `refs == 0` among those
    released, and forgets it; the pool asks only where there is one. The most recently used
    block first, for example:

        class MostRecent:
            def __init__(self, capacity: int) -> None:
                self.blocks: list[Block] = []

            def insert(self, block: Block) -> None:
                self.blocks.append(block)

            def touch(self, block: Block) -> None:
                self.blocks.remove(block)
                self.blocks.append(block)

            def release(self, block: Block) -> None:
                pass

            def evict(self) -> Block:
                block = next(block for block in reversed(self.blocks) if block.refs == 0)
                self.blocks.remove(block)
                return block

            def check_integrity(self) -> None:
                assert len(self.blocks) == len(set(self.blocks))

    A class or a function that takes the capacity in blocks and returns such an object stands
    wherever the name of a policy may: `replay(workload, 1000, MostRecent)`.
    """

    def insert(self, block: Block) -> None:
        """`block` is full and can be found by its id from now on; it is in use."""

    def touch(self, block: Block) -> None:
        """One more request refers to `block`."""

    def release(self, block: Block) -> None:
        """Nobody uses `block` any more: it may be evicted."""

    def evict(self) -> Block:
        """Choose a released block that nobody uses, and forget it."""

    def check_integrity(self) -> None:
        """Raise AssertionError where the policy's own state contradicts itself."""


PolicyFactory = Callable[[int], EvictionPolicy]
"""Makes a policy for a cache of so many blocks."""
