"""Layer timings -> the coefficients of an iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from servetwin.cost.attention import attention_cost
from servetwin.cost.curves import Curves, Roof, curves_for
from servetwin.cost.derive import derive_iteration
from servetwin.cost.dtypes import peak_flops
from servetwin.cost.graphs import graph_sizes, padded
from servetwin.cost.launches import with_launch_floor
from servetwin.cost.linear import head_parts, token_parts
from servetwin.cost.profiles.attention import Limits, attention_tables
from servetwin.cost.profiles.skew import Contexts, longer_by_skew
from servetwin.cost.profiles.timings import Curve, LayerTimings
from servetwin.cost.ranks import rank_limits
from servetwin.types import AttentionTables, Deployment, IterationCost
from servetwin.units import PS_PER_S

__all__ = ["Tuning", "missing_parts", "profiled_iteration"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Seconds = Callable[[Floats], Floats]

GEMMS = ("gemms", "qkv", "attention_out", "mlp_up", "mlp_down", "router")
ELEMENTWISE = ("rotary", "activation", "residual", "kv_write", "qk_norm")
ONCE = ("embedding", "final_norm")


@dataclass(frozen=True)
class Tuning:
    """What kernel timings do not tell."""

    time_factor: float = 1.0
    """Of this machine: every kernel takes this many times the profiled one."""
    step_seconds: float = 0.0
    """Of this machine: added to each iteration."""
    operation_us: float | None = None
    """Of this machine: to launch one operation without a graph; None: as on others."""
    link_as_stated: bool = False
    """Take the link's bandwidth as one that collectives reach, rather than a data sheet's."""
    contexts: Contexts | None = None
    """Of the workload, for the profile's correction of skewed batches; None for equal ones."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.time_factor <= 10.0 or not 0.0 <= self.step_seconds <= 1.0:
            raise ValueError("time_factor must lie in 0.1 … 10 and step_seconds in 0 … 1")
        if self.operation_us is not None and not 0.0 <= self.operation_us <= 1e6:
            raise ValueError("operation_us must lie in 0 … 1,000,000")


def profiled_iteration(
    deployment: Deployment, timings: LayerTimings, tuning: Tuning
) -> IterationCost:
    """Coefficients of one iteration; parts that were not timed come from the roofline."""
    curves = _curves(deployment, tuning)
    settings = deployment.settings
    size = max(settings.max_num_batched_tokens, settings.max_num_seqs)
    parts = _Parts(deployment, timings, curves, tuning)

    def of_tokens(tokens: Floats) -> Floats:
        return tuning.time_factor * parts.of_tokens(tokens)

    def of_sampled(sampled: Floats) -> Floats:
        return tuning.time_factor * parts.of_sampled(sampled)

    floored = with_launch_floor(of_tokens, deployment, curves, tuning.step_seconds)
    linear, linear_slope = _tabled(floored, size)
    head, head_slope = _tabled(of_sampled, settings.max_num_seqs)
    derived = derive_iteration(deployment, curves)
    common = replace(
        derived,
        base=round(tuning.step_seconds * PS_PER_S),
        linear=linear,
        linear_slope=linear_slope,
        head=head,
        head_slope=head_slope,
    )
    if timings.attention is None:
        return common
    return replace(
        common,
        decode_seq=0,
        decode_ctx=0,
        prefill_chunk=0,
        prefill_attn=0,
        attention=_attention(deployment, timings, tuning),
    )


def missing_parts(deployment: Deployment, timings: LayerTimings) -> tuple[str, ...]:
    """Parts of an iteration that the timings do not hold, in words."""
    missing = []
    if not any(name in timings.dense for name in GEMMS):
        missing.append("GEMMs")
    if "norm" not in timings.dense:
        missing.append("norms and other elementwise kernels")
    for name, words in (("head", "output head"), ("sampler", "sampler")):
        if name not in timings.sampled:
            missing.append(words)
    if timings.attention is None:
        missing.append("attention")
    elif timings.attention.mixed is None:
        missing.append("prefill and decode attention in one call (the sum is used)")
    if deployment.model.mixture and timings.experts is None:
        missing.append("experts")
    return tuple(missing)


def _curves(deployment: Deployment, tuning: Tuning) -> Curves:
    curves = curves_for(deployment.accelerator.name)
    if tuning.operation_us is not None:
        curves = replace(curves, host=replace(curves.host, operation_us=tuning.operation_us))
    if not tuning.link_as_stated:
        return curves
    return replace(
        curves, collective=replace(curves.collective, launch_us=0.0, all_reduce=1.0, send=1.0)
    )


def _attention(deployment: Deployment, timings: LayerTimings, tuning: Tuning) -> AttentionTables:
    assert timings.attention is not None
    settings, ranks = deployment.settings, deployment.parallelism.dp
    limits = Limits(
        layers=deployment.model.layers * tuning.time_factor,
        tokens=settings.max_num_batched_tokens,
        sequences=settings.max_num_seqs,
        context=settings.max_model_len,
        ranks=ranks,
    )
    longer = None
    if tuning.contexts and timings.skew:
        # A rank compares the contexts of its own sequences.
        own = rank_limits(deployment).max_num_seqs
        factors = longer_by_skew(timings.attention, timings.skew, tuning.contexts, own)
        share = np.ceil(np.arange(1, limits.sequences + 1) / ranks).astype(np.int64)
        longer = factors[np.minimum(share, own) - 1]
    return attention_tables(timings.attention, limits, longer)


@dataclass(frozen=True)
class _Parts:
    """Seconds of everything but attention."""

    deployment: Deployment
    timings: LayerTimings
    curves: Curves
    tuning: Tuning

    def of_tokens(self, tokens: Floats) -> Floats:
        """By tokens in the batch of all ranks."""
        ranks = self.deployment.parallelism.dp
        own = np.ceil(tokens / ranks)
        if self.timings.graphs:
            own = padded(own, graph_sizes(self.deployment))
        derived = token_parts(self.deployment, self.curves, own * ranks)
        total = self._gemms(own, derived) + self._elementwise(own, derived)
        total = total + self._collectives(own, derived["collectives"])
        if self.timings.attention is None:
            total = total + self._attention_launches(tokens)
        if "experts" in derived:
            total = total + self._experts(own * ranks, derived["experts"])
        return np.asarray(total)

    def of_sampled(self, sampled: Floats) -> Floats:
        """By sampled tokens."""
        own = np.ceil(sampled / self.deployment.parallelism.dp)
        parts = dict(head_parts(self.deployment, self.curves, sampled))
        for name, curve in self.timings.sampled.items():
            parts[name] = _continued(curve, own, parts[name])
        if self.timings.host and not (self.timings.graphs and self.deployment.settings.plans_ahead):
            parts["host"] = _continued(self.timings.host, own, own)
        return np.asarray(sum(parts.values()))

    def _collectives(self, own: Floats, derived: Floats) -> Floats:
        layout = self.deployment.parallelism
        timed = self.timings.dense.get("all_reduce")
        if timed is None or layout.devices != layout.tp:
            return derived
        return _summed([timed], own, derived, 2 * self.deployment.model.layers)

    def _gemms(self, own: Floats, derived: Mapping[str, Floats]) -> Floats:
        layers, dense = self.deployment.model.layers, self.timings.dense
        curves = [dense[name] for name in GEMMS if name in dense]
        return _summed(curves, own, derived["gemm"], layers) if curves else derived["gemm"]

    def _elementwise(self, own: Floats, derived: Mapping[str, Floats]) -> Floats:
        model, dense = self.deployment.model, self.timings.dense
        if "norm" not in dense:
            return derived["elementwise"]
        curves = [dense[name] for name in ELEMENTWISE if name in dense]
        curves += [dense["norm"]] * model.layer_norms
        total = _summed(curves, own, derived["elementwise"], model.layers)
        once = [dense[name] for name in ONCE if name in dense]
        return total + _summed(once, own, derived["elementwise"], 1) if once else total

    def _attention_launches(self, tokens: Floats) -> Floats:
        accelerator = self.deployment.accelerator
        roof = Roof(peak_flops(accelerator, "bf16"), accelerator.bandwidth)
        attention = attention_cost(self.deployment, self.curves, roof)
        return np.asarray(attention.launch + attention.prefill_token * tokens)

    def _experts(self, tokens: Floats, derived: Floats) -> Floats:
        """Routed experts of one device: of its share of the pairs, and of the experts reached.

        Under uniform routing `T` tokens reach `E (1 - (1 - k/E)^T)` of `E` experts.
        """
        experts, mixture = self.timings.experts, self.deployment.model.mixture
        layout = self.deployment.parallelism
        # Whole experts only: slices of them were not timed.
        if experts is None or mixture is None or layout.tp * layout.dp != layout.ep:
            return derived
        reached = 1.0 - (1.0 - mixture.experts_per_token / mixture.experts) ** tokens
        share = tokens / layout.ep
        seconds = experts.at(np.maximum(share, 1.0), mixture.experts / layout.ep * reached)
        beyond = np.maximum(share / experts.tokens[-1], 1.0)
        return np.asarray(mixture.moe_layers * beyond * seconds)


def _summed(curves: list[Curve], sizes: Floats, derived: Floats, layers: int) -> Floats:
    """Seconds of some operations in all layers, beyond their end in step with `derived`."""
    end = min(curve.end for curve in curves)
    whole = Curve(sizes, derived)
    inside = np.minimum(sizes, end)
    total = sum(curve.at(inside) for curve in curves)
    grown = np.where(sizes > end, derived / whole.at(np.minimum(sizes, end)), 1.0)
    return np.asarray(layers * total * grown)


def _continued(curve: Curve, sizes: Floats, derived: Floats) -> Floats:
    return _summed([curve], sizes, derived, 1)


def _tabled(seconds: Seconds, size: int) -> tuple[Ints, int]:
    """Picoseconds for 0 (free) to `size`, never falling, and for each one beyond."""
    counts = np.append(np.arange(1.0, size + 1), 2.0 * size)
    values = np.maximum.accumulate(seconds(counts)) * PS_PER_S
    table = np.zeros(size + 1, dtype=np.int64)
    table[1:] = np.rint(values[:-1])
    return table, max(1, round(float(values[-1] - values[-2]) / size))
