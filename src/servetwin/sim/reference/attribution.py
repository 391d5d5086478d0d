"""Where the time of a request goes (section 5.1 of `docs/background/semantics.md`)."""

from __future__ import annotations

from servetwin.sim.reference.cost import duration
from servetwin.sim.reference.state import Batch, Request, Work
from servetwin.types import IterationCost
from servetwin.units import NOT_YET

__all__ = ["Clock"]


class Clock:
    """Prefill time and prefill tokens of the iterations of one replica that have ended."""

    def __init__(self, cost: IterationCost) -> None:
        self.cost = cost
        self.prefill_time = 0
        self.prefill_tokens = 0

    def ended(self, batch: Batch) -> None:
        """Count an iteration: what its prompts add to the time that its decodes take alone."""
        decodes = Batch([item for item in batch.work if item.decode])
        if len(decodes.work) < len(batch.work):
            self.prefill_time += max(0, batch.duration - duration(self.cost, decodes))
            self.prefill_tokens += batch.prefill_tokens

    def begin_prompt(self, item: Work, now: int) -> None:
        """A plan made `now` is the first with a chunk of a request since it was admitted."""
        request = item.request
        request.prompt_begun, request.prompt_done = now, item.done
        request.marks = (self.prefill_time, self.prefill_tokens)

    def join(self, item: Work, now: int) -> None:
        """A plan made `now` is the first to decode a request that another pool prefilled."""
        request = item.request
        request.joined = now
        request.marks = (self.prefill_time, self.prefill_tokens)

    def token(self, item: Work, now: int) -> None:
        """The request of `item` gets a token `now`."""
        request = item.request
        redone = request.sampled == request.delivered + 1 > 1
        if item.decode and not redone:
            others = self.prefill_time - request.marks[0]
            begun = max(request.last_token, request.joined)
            request.decode_time += now - begun - others
        elif request.last_token == NOT_YET:
            self._first_token(request, now, item.done + item.tokens - request.prompt_done)
        else:
            request.preempted_time += now - request.last_token
        request.marks = (self.prefill_time, self.prefill_tokens)

    def _first_token(self, request: Request, now: int, own: int) -> None:
        """Of the prefill time since its prompt began, `own` tokens' share is the request's."""
        time = self.prefill_time - request.marks[0]
        tokens = self.prefill_tokens - request.marks[1]
        others = time - ((time // tokens) * own + (time % tokens) * own // tokens)
        request.prefill_time = now - request.prompt_begun - others
        request.preempted_time = request.prompt_begun - request.first_scheduled
