"""One engine: plans iterations, runs them one after another, hands out their tokens."""

from __future__ import annotations

from servetwin.sim.inputs import SimInputs
from servetwin.sim.reference.attribution import Clock
from servetwin.sim.reference.cost import duration
from servetwin.sim.reference.gaps import TokenGapCounter
from servetwin.sim.reference.ring import Ring
from servetwin.sim.reference.schedulers import PLANNERS, Queues
from servetwin.sim.reference.state import Batch, Request
from servetwin.sim.reference.tiered import TieredPool, pool_of
from servetwin.units import NOT_YET

__all__ = ["Replica"]


class Replica:
    """One engine of the deployment.

    With async scheduling the iteration after the running one is already planned
    (`staged`), as in vLLM: the plan is made when the running one starts, so it knows
    neither who finishes in it nor who arrives during it.
    """

    def __init__(self, inputs: SimInputs, gaps: TokenGapCounter, ring: Ring | None = None) -> None:
        settings = inputs.settings
        self.inputs = inputs
        self.ring = ring
        self.pool = pool_of(inputs)
        self.queues = Queues(settings, self.pool)
        self.planner = PLANNERS[settings.scheduler]
        self.hold_until_all_done = settings.scheduler in ("static", "single")
        self.gaps = gaps
        self.clock = Clock(inputs.cost, ring)
        self.executing = Batch()
        self.staged = Batch()
        self.held: list[Request] = []
        """Left, but their KV blocks are still to go to the decode pool."""
        self.down = False
        self.blocks_before = 0
        """In use before the plan that was made last."""
        self.now = 0
        self.busy_until = NOT_YET
        self.iterations = 0
        self.split_chunks = 0
        self.prefill_tokens = 0
        self.decode_tokens = 0
        self.iterations_done = 0
        self.context_tokens = 0

    @property
    def work_done(self) -> tuple[int, int, int, int]:
        """Prompt tokens, decode tokens, iterations and KV tokens read, up to now."""
        return self.prefill_tokens, self.decode_tokens, self.iterations_done, self.context_tokens

    def enqueue(self, request: Request) -> None:
        self.queues.enqueue(request)

    def wake(self, now: int) -> list[Request]:
        """End the iteration that ends now, start the next; return the requests that finished.

        Afterwards `busy_until` is the time to wake next, or NOT_YET with nothing to do.
        """
        finished = self._complete(self.executing, now)
        self.executing, self.staged = self.staged, Batch()
        if not self.executing.work:
            self.executing = self._plan(now)
        while not self.executing.work and self.executing.preempted:
            self.executing = self._plan(now)  # the first in the list preempted itself
        if self.inputs.lag and self.executing.work:
            self.staged = self._plan(now)
        self.busy_until = self.run(self.executing, now) if self.executing.work else NOT_YET
        return finished

    def run(self, batch: Batch, now: int) -> int:
        """Begin `batch` at `now`; return when it ends."""
        return self.ring.pass_through(batch, now) if self.ring else now + batch.duration

    def _plan(self, now: int) -> Batch:
        self.now = now
        self.blocks_before = self.pool.used
        if isinstance(self.pool, TieredPool):
            self.pool.now = now
        batch = self.planner(self.queues)
        batch.duration = duration(self.inputs.cost, batch)
        for item in batch.work:
            if item.request.first_scheduled == NOT_YET:
                item.request.first_scheduled = now
            if not item.decode and item.request.prompt_begun == NOT_YET:
                self.clock.begin_prompt(item, now)
            if item.request.remote and item.request.joined == NOT_YET:
                self.clock.join(item, now)
        self.iterations += bool(batch.work)
        self.split_chunks += sum(not item.samples for item in batch.work)
        self.pool.peak = max(self.pool.peak, self.pool.used)
        return batch

    def _complete(self, batch: Batch, now: int) -> list[Request]:
        self.prefill_tokens += batch.prefill_tokens
        self.decode_tokens += batch.decodes
        self.iterations_done += bool(batch.work)
        self.context_tokens += batch.contexts
        self.clock.ended(batch)
        finished = []
        for item in batch.work:
            request = item.request
            if not item.samples or item.padding:
                continue
            request.in_flight -= 1
            if request.sampled <= request.delivered:
                continue
            if request.first_token == NOT_YET:
                request.first_token = now
            else:
                self.gaps.add(now - request.last_token)
            self.clock.token(item, now)
            request.last_token = now
            if request.exhausted and request.in_flight == 0:
                request.finish = now
                finished.append(request)
        self._release()
        return finished

    def _release(self) -> None:
        """Free the blocks and seats of those who are done."""
        running = self.queues.running
        done = [request for request in running if request.finish != NOT_YET]
        if self.hold_until_all_done and len(done) < len(running):
            return
        for request in done:
            running.remove(request)
            if request.hands_over:
                self.held.append(request)
            else:
                self.pool.release(request)

    def let_go(self, request: Request) -> None:
        """The decode pool has the blocks of `request`."""
        self.held.remove(request)
        self.pool.release(request)

    def check_integrity(self) -> None:
        """Assert that no block is lost and nobody waits twice."""
        queues = self.queues
        inside = [*queues.running, *queues.loading, *queues.ready]
        self.pool.check_integrity([*inside, *self.held])
        everyone = [request.number for request in (*queues.waiting, *inside, *self.held)]
        assert len(everyone) == len(set(everyone))
        assert len(inside) <= self.inputs.settings.max_num_seqs
