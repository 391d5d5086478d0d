"""KV blocks of one engine: who uses them, what they hold, and which are free."""

from __future__ import annotations

from servetwin.cache.reference.policy import Block, EvictionPolicy

__all__ = ["BlockPool"]


class BlockPool:
    """A fixed number of blocks, found by the id of what they hold.

    `allocate` hands out blocks never used yet, then free ones, then the policy's choice.
    With `ordered_free` a block without an id queues for reuse as one with an id does, as in
    vLLM; without, it is reused before anything is evicted.
    """

    def __init__(
        self, capacity: int, policy: EvictionPolicy, *, ordered_free: bool = False
    ) -> None:
        self.capacity = capacity
        self.policy = policy
        self.ordered_free = ordered_free
        self.known: dict[int, Block] = {}
        self.evictions = 0
        self.evicted: int | None = None
        """Id that the last `allocate` took from its block, if any."""
        self._used: set[Block] = set()
        self._free: list[Block] = []
        self._fresh = capacity

    @property
    def available(self) -> int:
        """Blocks that `allocate` could hand out now."""
        return self.capacity - len(self._used)

    def lookup(self, id: int) -> Block | None:
        """Return the block that holds `id`, or None."""
        return self.known.get(id)

    def allocate(self) -> Block:
        """Return a block with one user and no id; some must be available."""
        self.evicted = None
        if self._fresh:
            self._fresh -= 1
        elif self._free:
            self._free.pop()
        else:
            gone = self.policy.evict()
            assert gone.refs == 0, "the policy chose a block that is in use"
            if gone.id is not None:
                del self.known[gone.id]
                self.evictions += 1
                self.evicted = gone.id
        block = Block()
        self._used.add(block)
        return block

    def name(self, block: Block, id: int, depth: int, parent: Block | None) -> None:
        """Let `block`, now full, be found as `id`; its user holds `parent`, the block before it.

        Where another block holds `id` already, this one stays without. So may `parent` be,
        which then does not count as one.
        """
        if id in self.known:
            return
        block.id, block.depth = id, depth
        block.parent = None if parent is None or parent.id is None else parent
        self.known[id] = block
        self.policy.insert(block)

    def acquire(self, block: Block) -> None:
        """Count one more user of a block that was looked up."""
        block.refs += 1
        self._used.add(block)
        self.policy.touch(block)

    def release(self, block: Block) -> None:
        """Count one user less."""
        block.refs -= 1
        if block.refs:
            return
        self._used.remove(block)
        if block.id is None and not self.ordered_free:
            self._free.append(block)
        else:
            self.policy.release(block)

    def check_integrity(self) -> None:
        """Raise AssertionError where counts, names and users contradict each other."""
        assert 0 <= len(self._used) <= self.capacity
        assert all(block.refs > 0 for block in self._used)
        assert all(block.id == id for id, block in self.known.items())
        assert all((block.refs > 0) == (block in self._used) for block in self.known.values())
        unnamed = sum(block.id is None for block in self._used)
        assert self._fresh >= 0
        assert len(self.known) + unnamed + len(self._free) + self._fresh <= self.capacity
        self.policy.check_integrity()
