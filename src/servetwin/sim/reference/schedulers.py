"""Six ways to decide what the next iteration computes.

Each takes the replica's queues and its block pool, changes them, and returns the work.
Section numbers refer to `docs/background/semantics.md`.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from servetwin.sim.reference.state import Batch, BlockPool, Request, Work
from servetwin.types import EngineSettings
from servetwin.units import NOT_YET

__all__ = ["PLANNERS", "Queues"]


@dataclass
class Queues:
    """The requests of one replica: `waiting` in order of service, `running` of admission."""

    settings: EngineSettings
    pool: BlockPool
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    loading: list[Request] = field(default_factory=list)
    """Have their blocks, some of which are on their way from a tier below HBM."""
    ready: deque[Request] = field(default_factory=deque)
    """Have all of them, and are admitted before those who wait."""
    ends: dict[Request, int] = field(default_factory=dict)
    """When the load of each of those ends that have begun one."""
    begun: list[tuple[int, Request]] = field(default_factory=list)
    """Loads that nobody has looked at yet: when they end, and whose they are."""
    batch: Batch = field(default_factory=Batch)
    """The plan at work."""
    fetch: Callable[[Request, int], int] | None = None
    """Have the KV of a remote request come, with blocks for so many tokens; return when it ends."""

    @property
    def width(self) -> int:
        """Requests that may run or load at once."""
        return 1 if self.settings.scheduler == "single" else self.settings.max_num_seqs

    def enqueue(self, request: Request, *, first: bool = False) -> None:
        """Let `request` wait: behind all others, or `first`; or where its priority puts it."""
        if self.settings.by_priority:
            insort(self.waiting, request, key=lambda other: other.rank)
        elif first:
            self.waiting.appendleft(request)
        else:
            self.waiting.append(request)

    def admit(self, holds: Callable[[Request], int], most: int | None = None) -> Request | None:
        """Let the next request run, behind what is cached of it; None where nobody may.

        There must be room for the tokens that it `holds`. One that would compute more than
        `most` stays where it is. Those for whom loading saves time go aside.
        """
        while self.ready or (self.waiting and len(self.running) + len(self.loading) < self.width):
            queue = self.ready or self.waiting
            head = queue[0] if self.ready else self.next_waiting()
            if head is None:
                return None
            if queue is self.waiting and self.pool.needs(head, holds(head)) > self.pool.free:
                return None
            done = head.input_tokens if head.remote else head.computed or self.pool.cached(head)
            if most is not None and head.known_tokens - done > most:
                return None
            queue.remove(head)
            if queue is self.waiting and not self._enter(head, holds(head)):
                continue  # it loads
            head.prompt_end = head.computed if head.remote else head.known_tokens
            head.prompt_begun = NOT_YET
            self.running.append(head)
            return head
        return None

    def next_waiting(self) -> Request | None:
        """The first whose adapter has a place in the batch; None where nobody's has."""
        adapters, most = self.batch.adapters, self.settings.max_loras
        for request in self.waiting:
            if request.adapter in (-1, *adapters) or len(adapters) < most:
                return request
        return None

    def _enter(self, request: Request, tokens: int) -> bool:
        """Give `request` a slot and what HBM has of it; False where it loads more first."""
        taken = {other.slot for other in (*self.running, *self.loading)}
        request.slot = next(slot for slot in range(self.width) if slot not in taken)
        if request.remote:
            assert self.fetch is not None
            end: int | None = self.fetch(request, tokens)
        else:
            end = self.pool.load(request, tokens)
        if end is None:
            self.pool.begin(request)
            return True
        self.loading.append(request)
        self.ends[request] = end
        self.begun.append((end, request))
        return False

    def loaded(self, request: Request) -> None:
        """All blocks of `request` have come."""
        self.loading.remove(request)
        self.ready.append(request)
        self.pool.fill(request)

    def compute(self, batch: Batch, request: Request, tokens: int) -> None:
        """Put `tokens` further tokens of `request`, which has the blocks, into the batch."""
        decode = request.decoding
        done = request.computed
        request.computed += tokens
        padding = request.exhausted
        samples = request.computed >= request.prompt_end
        if samples and not padding:
            request.generated += 1
            request.in_flight += 1
        self.pool.fill(request)
        batch.work.append(Work(request, tokens, done, decode, samples, padding))

    def victim(self) -> Request:
        """Who has to go when blocks run out: who was admitted last, or counts least."""
        if self.settings.by_priority:
            return max(self.running, key=lambda request: request.rank)
        return self.running[-1]

    def preempt(self, victim: Request) -> None:
        """Drop a running request: its KV is lost and will be recomputed."""
        self.running.remove(victim)
        self.pool.release(victim)
        victim.preemptions += 1
        victim.computed = 0
        victim.prompt_end = 0
        victim.remote = False
        if not victim.exhausted:
            self.enqueue(victim, first=True)

    def whole_sequence(self, request: Request) -> int:
        """Tokens that `request` will have stored when it ends."""
        return request.input_tokens + request.output_tokens - 1


def plan_vllm(queues: Queues) -> Batch:
    """vLLM 0.19: one token budget, KV blocks chunk by chunk, preemption (section 3.1)."""
    return _plan_chunked(queues, reserve_prompt=False)


def plan_sarathi(queues: Queues) -> Batch:
    """Sarathi-Serve: every decode, then prompt tokens up to the chunk size (section 3.2)."""
    return _plan_chunked(queues, reserve_prompt=True)


def _plan_chunked(queues: Queues, *, reserve_prompt: bool) -> Batch:
    pool, batch = queues.pool, Batch()
    queues.batch = batch
    budget = queues.settings.max_num_batched_tokens
    position = 0
    while position < len(queues.running):
        request = queues.running[position]
        position += 1
        if request.exhausted:
            continue
        wanted = request.known_tokens - request.computed
        tokens = wanted if request.decoding else min(wanted, max(0, budget))
        if tokens == 0:
            continue
        need = pool.blocks_for(request.computed + tokens)
        while need - request.blocks > pool.free:
            batch.preempted = True
            victim = queues.victim()
            position -= victim in queues.running[:position]
            budget += batch.take_back(victim)
            queues.preempt(victim)
            if victim is request:
                break
        if request.prompt_end == 0:  # it was itself the victim
            break
        pool.grow(request, request.computed + tokens)
        queues.compute(batch, request, tokens)
        budget -= tokens
    if batch.preempted:
        return batch
    while budget > 0 and (head := queues.admit(lambda request: request.known_tokens)):
        tokens = min(head.known_tokens - head.computed, budget)
        pool.grow(head, head.known_tokens if reserve_prompt else head.computed + tokens)
        queues.compute(batch, head, tokens)
        budget -= tokens
    return batch


def plan_orca(queues: Queues) -> Batch:
    """Orca: whole prompts beside the decodes, KV reserved for the whole answer (section 3.3)."""
    pool, batch = queues.pool, Batch()
    for request in queues.running:
        queues.compute(batch, request, 1)
    budget = queues.settings.max_num_batched_tokens - len(batch.work)
    most = None  # the first prompt may be as long as it likes
    while head := queues.admit(queues.whole_sequence, most):
        pool.grow(head, queues.whole_sequence(head))
        tokens = head.known_tokens - head.computed
        queues.compute(batch, head, tokens)
        budget -= tokens
        most = budget
    return batch


def plan_static(queues: Queues) -> Batch:
    """FasterTransformer: a batch runs until its longest answer is done (section 3.4)."""
    pool, batch = queues.pool, Batch()
    if queues.running:
        for request in queues.running:
            queues.compute(batch, request, 1)
        return batch
    while head := queues.admit(queues.whole_sequence):
        pool.grow(head, queues.whole_sequence(head))
        queues.compute(batch, head, head.known_tokens - head.computed)
    return batch


def plan_slots(queues: Queues) -> Batch:
    """llama.cpp: fixed slots; decodes first, then prompts in slot order (section 3.5)."""
    batch = Batch()
    settings = queues.settings
    while head := queues.admit(queues.whole_sequence):
        queues.pool.grow(head, queues.whole_sequence(head))
    queues.running.sort(key=lambda request: request.slot)
    for request in queues.running:
        if request.decoding:
            queues.compute(batch, request, 1)
    budget = settings.max_num_batched_tokens - len(batch.work)
    decoding = {item.request.number for item in batch.work}
    for request in queues.running:
        tokens = min(request.prompt_end - request.computed, budget)
        if request.number not in decoding and tokens > 0:
            queues.compute(batch, request, tokens)
            budget -= tokens
    return batch


PLANNERS: dict[str, Callable[[Queues], Batch]] = {
    "vllm": plan_vllm,
    "sarathi": plan_sarathi,
    "orca": plan_orca,
    "static": plan_static,
    "slots": plan_slots,
    "single": plan_static,
}
