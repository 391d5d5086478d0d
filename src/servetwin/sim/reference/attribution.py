"""Where the time of a request goes (section 5.1 of `docs/background/semantics.md`)."""

from __future__ import annotations

from servetwin.sim.reference.cost import duration
from servetwin.sim.reference.ring import Ring
from servetwin.sim.reference.state import Batch, Request, Work
from servetwin.types import IterationCost
from servetwin.units import NOT_YET

__all__ = ["Clock"]


class Clock:
    """Sums over the iterations of one replica that have ended, in the order of `reading`."""

    def __init__(self, cost: IterationCost, ring: Ring | None) -> None:
        self.cost = cost
        self.ring = ring
        self.prefill_time = 0
        self.prefill_tokens = 0
        self.stage_wait = 0
        self.outage = 0

    @property
    def reading(self) -> tuple[int, int, int, int]:
        return self.prefill_time, self.prefill_tokens, self.stage_wait, self.outage

    def ended(self, batch: Batch) -> None:
        """Count an iteration: what its prompts add to the time that its decodes take alone."""
        decodes = Batch([item for item in batch.work if item.decode])
        if len(decodes.work) < len(batch.work):
            decodes.duration = duration(self.cost, decodes)
            self.prefill_time += max(0, self._alone(batch) - self._alone(decodes))
            self.prefill_tokens += batch.prefill_tokens
        self.stage_wait += batch.waited
        self.outage += batch.outage

    def _alone(self, batch: Batch) -> int:
        """How long an iteration takes where nothing is in its way."""
        return self.ring.alone(batch) if self.ring else batch.duration

    def begin_prompt(self, item: Work, now: int) -> None:
        """A plan made `now` is the first with a chunk of a request since it was admitted."""
        request = item.request
        request.prompt_begun, request.prompt_done = now, item.done
        request.marks = self.reading

    def join(self, item: Work, now: int) -> None:
        """A plan made `now` is the first to decode a request that another pool prefilled."""
        request = item.request
        request.joined = now
        request.marks = self.reading

    def token(self, item: Work, now: int) -> None:
        """The request of `item` gets a token `now`."""
        request = item.request
        redone = request.sampled == request.delivered + 1 > 1
        if item.decode and not redone:
            others = self.prefill_time - request.marks[0]
            waited = self.stage_wait - request.marks[2]
            outage = self.outage - request.marks[3]
            begun = max(request.last_token, request.joined)
            request.decode_time += now - begun - others - waited - outage
            request.decode_stage_wait += waited
            request.decode_outage += outage
        elif request.last_token == NOT_YET:
            self._first_token(request, now, item.done + item.tokens - request.prompt_done)
        elif redone:
            request.decode_outage += now - max(request.last_token, request.joined)
        else:
            request.preempted_time += now - request.last_token
        request.marks = self.reading

    def _first_token(self, request: Request, now: int, own: int) -> None:
        """Of the prefill time since its prompt began, `own` tokens' share is the request's."""
        time = self.prefill_time - request.marks[0]
        tokens = self.prefill_tokens - request.marks[1]
        others = time - ((time // tokens) * own + (time % tokens) * own // tokens)
        request.prefill_stage_wait = self.stage_wait - request.marks[2]
        outage = self.outage - request.marks[3]
        alone = now - request.prompt_begun - others - outage
        request.prefill_time = alone - request.prefill_stage_wait
        before = request.prompt_begun - request.first_scheduled
        if request.retries:
            outage += before
        else:
            request.preempted_time = before
        request.prefill_outage = outage
