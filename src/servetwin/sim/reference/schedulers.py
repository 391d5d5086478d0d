"""Six ways to decide what the next iteration computes.

Each takes the replica's queues and its block pool, changes them, and returns the work.
Section numbers refer to `docs/background/semantics.md`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from servetwin.sim.reference.state import Batch, BlockPool, Request, Work
from servetwin.types import EngineSettings

__all__ = ["PLANNERS", "Queues"]


@dataclass
class Queues:
    """The requests of one replica: `waiting` in order of service, `running` of admission."""

    settings: EngineSettings
    pool: BlockPool
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)

    def admit(self) -> Request:
        """Move the head of the waiting queue to the running list, behind what is cached of it."""
        request = self.waiting.popleft()
        request.prompt_end = request.known_tokens
        self.running.append(request)
        self.pool.begin(request)
        return request

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

    def preempt_last(self) -> Request:
        """Drop the request admitted last: its KV is lost and will be recomputed."""
        victim = self.running.pop()
        self.pool.release(victim)
        victim.preemptions += 1
        victim.computed = 0
        victim.prompt_end = 0
        if not victim.exhausted:
            self.waiting.appendleft(victim)
        return victim

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
    budget = queues.settings.max_num_batched_tokens
    preempted = False
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
            preempted = True
            if queues.preempt_last() is request:
                break
        if request.prompt_end == 0:  # it was the last itself
            break
        pool.grow(request, request.computed + tokens)
        queues.compute(batch, request, tokens)
        budget -= tokens
    if preempted:
        return batch
    while queues.waiting and budget > 0 and len(queues.running) < queues.settings.max_num_seqs:
        head = queues.waiting[0]
        if pool.needs(head, head.known_tokens) > pool.free:
            break
        request = queues.admit()
        tokens = min(request.known_tokens - request.computed, budget)
        upto = request.known_tokens if reserve_prompt else request.computed + tokens
        pool.grow(request, upto)
        queues.compute(batch, request, tokens)
        budget -= tokens
    return batch


def plan_orca(queues: Queues) -> Batch:
    """Orca: whole prompts beside the decodes, KV reserved for the whole answer (section 3.3)."""
    pool, batch = queues.pool, Batch()
    for request in queues.running:
        queues.compute(batch, request, 1)
    budget = queues.settings.max_num_batched_tokens - len(batch.work)
    prompts = 0
    while queues.waiting and len(queues.running) < queues.settings.max_num_seqs:
        head = queues.waiting[0]
        if pool.needs(head, queues.whole_sequence(head)) > pool.free:
            break
        tokens = head.input_tokens - pool.cached(head)
        if prompts and tokens > budget:
            break
        request = queues.admit()
        pool.grow(request, queues.whole_sequence(request))
        queues.compute(batch, request, tokens)
        budget -= tokens
        prompts += 1
    return batch


def plan_static(queues: Queues) -> Batch:
    """FasterTransformer: a batch runs until its longest answer is done (section 3.4)."""
    pool, batch = queues.pool, Batch()
    if queues.running:
        for request in queues.running:
            queues.compute(batch, request, 1)
        return batch
    width = 1 if queues.settings.scheduler == "single" else queues.settings.max_num_seqs
    while queues.waiting and len(queues.running) < width:
        head = queues.waiting[0]
        if pool.needs(head, queues.whole_sequence(head)) > pool.free:
            break
        request = queues.admit()
        pool.grow(request, queues.whole_sequence(request))
        queues.compute(batch, request, request.input_tokens - request.computed)
    return batch


def plan_slots(queues: Queues) -> Batch:
    """llama.cpp: fixed slots; decodes first, then prompts in slot order (section 3.5)."""
    batch = Batch()
    settings = queues.settings
    taken = {request.slot for request in queues.running}
    for slot in range(settings.max_num_seqs):
        if slot not in taken and queues.waiting:
            request = queues.admit()
            request.slot = slot
            queues.pool.grow(request, queues.whole_sequence(request))
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
