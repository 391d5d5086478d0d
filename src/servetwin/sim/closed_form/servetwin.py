"""The model `servetwin`: the simulator's own costs for a request that has the engine alone.

It equals a simulation in which requests never meet, to the picosecond: chunks of prefill
whose attention grows with the square of the context, and decode steps that read the cache
of the heads the model really has. The sum over the steps is that of an affine series.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.capacity import fitting_length, is_uneven
from servetwin.cost.dtypes import peak_flops
from servetwin.errors import InputError
from servetwin.sim.closed_form.checks import check_clock
from servetwin.sim.closed_form.model import Device, Phases, Requests
from servetwin.sim.closed_form.traffic import traffic_of
from servetwin.sim.running import describe
from servetwin.types import CostModel, Deployment, IterationCost

__all__ = ["Servetwin"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LONGEST_RECOMPUTE = 1 << 22
"""Longest context without KV cache, tokens: its prefill times are tabled."""

WHOLE_PROMPTS = ("single", "static", "orca")
"""Schedulers that do not cut a prompt into chunks."""

PROMPT_AT_ONCE = 1 << 40


class Servetwin:
    """Closed form of a Deployment's iteration costs at a batch of one."""

    name = "servetwin"

    def __init__(self, deployment: Deployment, cost: CostModel) -> None:
        if cost.iteration.attention is not None:
            raise ValueError("the closed form has no tables of attention: take derived costs")
        settings = deployment.settings
        whole = settings.scheduler in WHOLE_PROMPTS
        self.deployment = deployment
        self._cost = cost.iteration
        self._chunk = PROMPT_AT_ONCE if whole else settings.max_num_batched_tokens
        self._traffic = traffic_of(deployment, cost)
        self.cache = self._traffic.cache
        self.max_tokens = _longest(deployment, cost)
        gpu = deployment.accelerator
        self.device = Device(
            name=gpu.name,
            memory=gpu.memory,
            memory_mib=int(gpu.memory) >> 20,
            capacity=peak_flops(gpu, "bf16") / 1e9,
        )
        self.config: dict[str, Any] = describe(deployment)
        self.source = cost.source
        self.notes = cost.notes

    def prefill(self, input_tokens: Ints) -> Ints:
        """Chunks one after the other, and the head for the first token."""
        return self.prefill_after_hit(input_tokens, 0)

    def prefill_after_hit(self, input_tokens: Ints, shared_tokens: int) -> Ints:
        """Only what follows the shared prefix, and at least one token of it."""
        from servetwin.sim.closed_form.kernels import prefill_times

        self._check(input_tokens, None)
        out = np.empty(input_tokens.size, np.int64)
        behind = max(0, int(input_tokens.max(initial=0)) - shared_tokens)
        whole = np.empty(behind // self._chunk + 1, np.int64)
        cost, table = self._coefficients(), self._cost.linear
        prefill_times(cost, table, input_tokens, shared_tokens, whole, out)
        return out

    def decode(self, input_tokens: Ints, output_tokens: Ints, kv_cache: bool = True) -> Ints:
        """Every token after the first, which the prefill yields.

        Without KV cache each further token is another prefill of all tokens before it.
        """
        from servetwin.sim.closed_form.kernels import decode_times

        self._check(input_tokens, output_tokens)
        if not kv_cache:
            return self._recompute(input_tokens, output_tokens)
        out = np.empty(input_tokens.size, np.int64)
        decode_times(self._coefficients(), self._step(), input_tokens, output_tokens, out)
        return out

    def phases(self, requests: Requests, kv_cache: bool = True) -> Phases:
        """Roofline share of the prefill, then of the decode steps from first to last.

        The share is of the peak of arithmetic or of bandwidth, whichever is nearer.
        """
        given = requests.input_tokens.astype(np.float64)
        made = requests.output_tokens.astype(np.float64)
        prefill = requests.prefill.astype(np.float64)
        cached = requests.cached_tokens
        known = np.zeros(1) if cached is None else np.minimum(cached, given - 1)
        pairs = self._traffic.prompt_pairs(given, known)
        head = self._traffic.share(given - known, pairs, given, prefill)
        end = given + np.maximum(made - 1, 1)
        if kv_cache:
            first, last = self._decode_share(given + 1), self._decode_share(end)
        else:
            first = last = self._recompute_share(requests, end)
        stop = requests.prefill + requests.decode
        return Phases(requests.prefill, stop, head, first, last, last)

    def _decode_share(self, context: Floats) -> Floats:
        near = np.minimum(context, self._cost.window)
        time = self._step() + self._cost.decode_ctx * context
        time += self._cost.decode_window_ctx * near
        pairs = self._traffic.step_pairs(context)
        return self._traffic.share(np.ones_like(context), pairs, context, time)

    def _recompute_share(self, requests: Requests, end: Floats) -> Floats:
        steps = np.maximum(requests.output_tokens - 1.0, 0.0)
        middle = (requests.input_tokens + end) / 2
        time = requests.decode / np.maximum(steps, 1.0)
        pairs = self._traffic.prompt_pairs(middle, np.zeros_like(middle))
        return self._traffic.share(middle, pairs, middle, time)

    def _step(self) -> int:
        """A decode step, apart from its context."""
        cost = self._cost
        drafts = 0 if cost.speculation is None else int(cost.speculation[1])
        return cost.base + int(cost.linear[1]) + int(cost.head[1]) + cost.decode_seq + drafts

    def _coefficients(self) -> Any:
        from servetwin.sim.closed_form.kernels import Coefficients

        return Coefficients(
            head=int(self._cost.head[1]),
            chunk=self._chunk,
            **{name: int(getattr(self._cost, name)) for name in _SCALARS},
        )

    def _check(self, input_tokens: Ints, output_tokens: Ints | None) -> None:
        """Raise InputError where the clock would run over; the bound is generous."""
        if not input_tokens.size:
            return
        longest = float(input_tokens.max())
        most = 0.0 if output_tokens is None else float(output_tokens.max())
        if self._bound(longest, most) < 1e18:
            return
        given = input_tokens.astype(np.float64)
        made = np.zeros_like(given) if output_tokens is None else output_tokens.astype(np.float64)
        check_clock("prefill and decode", np.asarray(self._bound(given, made)))

    def _bound(self, given: Any, made: Any) -> Any:
        cost = self._cost
        pairs = (cost.prefill_attn + cost.prefill_window_attn) / 1024 * given * given
        chunks = given / self._chunk + 1
        token = cost.linear_slope * given + chunks * float(cost.linear[-1])
        prefill = token + pairs + chunks * (cost.base + cost.prefill_chunk) + float(cost.head[1])
        context = cost.decode_ctx + cost.decode_window_ctx
        return prefill + made * self._step() + context * made * (given + made)

    def _recompute(self, input_tokens: Ints, output_tokens: Ints) -> Ints:
        last = input_tokens + np.maximum(output_tokens, 1) - 1
        longest = int(last.max(initial=1))
        if longest > LONGEST_RECOMPUTE:
            raise InputError(
                f"request {int(np.argmax(last))}: a context of {longest:,} tokens without KV "
                f"cache; at most {LONGEST_RECOMPUTE:,} are possible"
            )
        table = np.zeros(longest + 1, np.int64)
        table[1:] = self.prefill(np.arange(1, longest + 1))
        estimate = np.concatenate([[0.0], np.cumsum(table[1:], dtype=np.float64)])
        check_clock("decode without KV cache", estimate[last] - estimate[input_tokens])
        # The sums may wrap around, their differences then still come out right.
        sums = np.cumsum(table)
        return np.asarray(sums[last] - sums[input_tokens])


_SCALARS = (
    "base",
    "linear_slope",
    "decode_seq",
    "decode_ctx",
    "prefill_chunk",
    "prefill_attn",
    "window",
    "decode_window_ctx",
    "prefill_window_attn",
)
assert set(_SCALARS) <= set(IterationCost.__dataclass_fields__)


def _longest(deployment: Deployment, cost: CostModel) -> int:
    """Tokens of the longest sequence that the model and the KV cache allow."""
    if is_uneven(deployment):
        # Its blocks are counted at a typical context, of which a long one needs fewer.
        return fitting_length(deployment)
    settings = deployment.settings
    return min(settings.max_model_len, cost.memory.capacity_blocks * settings.block_size)
