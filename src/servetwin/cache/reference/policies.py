"""The policies of an engine, as plainly as they can be said."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from servetwin.cache.policies import PolicyOptions
from servetwin.cache.reference.policy import Block

__all__ = ["Fifo", "FlopAware", "Lfu", "S3Fifo", "VllmLru"]

MOST_USES = 3
"""Where S3-FIFO's counter of two bits stops."""


class VllmLru:
    """The free queue of vLLM: blocks nobody uses, the one released first at the head."""

    def __init__(self) -> None:
        self.queue: dict[Block, None] = {}

    def insert(self, block: Block) -> None:
        pass

    def touch(self, block: Block) -> None:
        self.queue.pop(block, None)

    def release(self, block: Block) -> None:
        self.queue[block] = None

    def evict(self) -> Block:
        block = next(iter(self.queue))
        del self.queue[block]
        return block

    def check_integrity(self) -> None:
        assert all(block.refs == 0 for block in self.queue)


class _Ranked:
    """Policies that evict the block of the lowest rank; a rank is set as the block is released.

    `clock` counts releases, so that no two of them are equal.
    """

    def __init__(self) -> None:
        self.clock = 0
        self.rank: dict[Block, tuple[int, int]] = {}

    def insert(self, block: Block) -> None:
        pass

    def touch(self, block: Block) -> None:
        pass

    def release(self, block: Block) -> None:
        self.clock += 1
        self.rank[block] = self.rank_of(block)

    def evict(self) -> Block:
        block = min(filter(self.may_go, self.rank), key=self.rank.__getitem__)
        self.gone(block)
        del self.rank[block]
        return block

    def rank_of(self, block: Block) -> tuple[int, int]:
        """Rank of a block, of which the least goes first; each ranked policy has its own."""
        raise NotImplementedError

    def may_go(self, block: Block) -> bool:
        return block.refs == 0

    def gone(self, block: Block) -> None:
        pass

    def check_integrity(self) -> None:
        assert all(block.id is not None for block in self.rank)
        assert len(set(self.rank.values())) == len(self.rank)


class Fifo(_Ranked):
    """First in, first out; a block comes in when it is first released."""

    def rank_of(self, block: Block) -> tuple[int, int]:
        return self.rank.get(block, (self.clock, 0))


class Lfu(_Ranked):
    """Least frequently used, with dynamic aging (LFU-DA, Arlitt et al. 2000).

    A block ranks by the requests that used it since it came in, plus the rank of the last
    one evicted before its latest release; among equals the least recent goes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.age = 0
        self.uses: dict[Block, int] = {}

    def insert(self, block: Block) -> None:
        self.uses[block] = 1

    def touch(self, block: Block) -> None:
        self.uses[block] += 1

    def rank_of(self, block: Block) -> tuple[int, int]:
        return self.uses[block] + self.age, self.clock

    def gone(self, block: Block) -> None:
        del self.uses[block]
        self.age = self.rank[block][0]


class FlopAware(_Ranked):
    """Recency and FLOPs saved per byte, over the ends of cached prefixes (after Marconi)."""

    def __init__(self, bonus: Sequence[int]) -> None:
        super().__init__()
        self.bonus = bonus
        self.children: dict[Block, int] = {}

    def insert(self, block: Block) -> None:
        if block.parent is not None:
            self.children[block.parent] = self.children.get(block.parent, 0) + 1

    def rank_of(self, block: Block) -> tuple[int, int]:
        return self.clock + self.bonus[block.depth], self.clock

    def may_go(self, block: Block) -> bool:
        return block.refs == 0 and self.children.get(block, 0) == 0

    def gone(self, block: Block) -> None:
        if block.parent is not None:
            self.children[block.parent] -= 1


class S3Fifo:
    """Three FIFO queues (Yang et al., SOSP 2023): small, main, and the ghosts of small.

    A block comes in when it is first released: to main where it is among the ghosts, the
    blocks last evicted from small, otherwise to small. A block in use at the head of a queue
    moves to the end of main.
    """

    def __init__(self, capacity: int, options: PolicyOptions) -> None:
        self.small_room = options.small_room(capacity)
        self.ghost_room = capacity - self.small_room
        self.small: deque[Block] = deque()
        self.main: deque[Block] = deque()
        self.ghosts: list[int | None] = []
        """Every id ever evicted from small, in order; None where it came back."""
        self.uses: dict[Block, int] = {}

    def insert(self, block: Block) -> None:
        self.uses[block] = 0

    def touch(self, block: Block) -> None:
        self.uses[block] = min(self.uses[block] + 1, MOST_USES)

    def release(self, block: Block) -> None:
        if block in self.small or block in self.main:
            return
        recent = range(max(0, len(self.ghosts) - self.ghost_room), len(self.ghosts))
        for place in recent:
            if self.ghosts[place] == block.id:
                self.ghosts[place] = None
                self.main.append(block)
                return
        self.small.append(block)

    def evict(self) -> Block:
        while True:
            small_idle = any(block.refs == 0 for block in self.small)
            main_idle = any(block.refs == 0 for block in self.main)
            if small_idle and (len(self.small) >= self.small_room or not main_idle):
                block = self.small.popleft()
                if block.refs == 0 and self.uses[block] <= 1:
                    self.ghosts.append(block.id)
                    break
                self.uses[block] = 0
                self.main.append(block)
            else:
                block = self.main.popleft()
                if block.refs == 0:
                    if self.uses[block] == 0:
                        break
                    self.uses[block] -= 1
                self.main.append(block)
        del self.uses[block]
        return block

    def check_integrity(self) -> None:
        queued = [*self.small, *self.main]
        assert len(queued) == len(set(queued))
        assert set(queued) <= set(self.uses)
        assert all(0 <= uses <= MOST_USES for uses in self.uses.values())
