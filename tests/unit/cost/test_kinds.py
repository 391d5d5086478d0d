"""Costs of engines of several kinds, and of machines that are slower than their kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.cost.scaling import scaled
from servetwin.types import DecodePool, Deployment, Parallelism, ReplicaGroup

MODEL = find_model("meta-llama/Llama-3.1-8B")


def group(gpu: str, replicas: int = 1, tp: int = 1, speed: float = 1.0) -> ReplicaGroup:
    accelerator = find_accelerator(gpu)
    link = find_link(accelerator.link)
    return ReplicaGroup(accelerator, link, Parallelism(tp), replicas=replicas, speed=speed)


def deployed(gpu: str = "H100-SXM", replicas: int = 2, **more: object) -> Deployment:
    accelerator = find_accelerator(gpu)
    settings = resolve_settings(MODEL, accelerator)
    link = find_link(accelerator.link)
    made = Deployment(MODEL, accelerator, link, settings=settings, replicas=replicas)
    return replace(made, **more)


def test_each_kind_costs_what_it_costs_alone() -> None:
    mixed = deployed(also=(group("A100-80GB", 3, tp=2),))
    cost = derive(mixed, 1000)
    assert mixed.devices == 2 + 3 * 2
    assert mixed.engines == 5
    assert [kind.accelerator.name for kind in mixed.kinds] == ["H100-SXM", "A100-80GB"]
    assert mixed.kinds[1].settings == mixed.settings
    for kind, own in zip(mixed.kinds, cost.kinds, strict=True):
        alone = derive(kind, 1000)
        assert own.memory == alone.memory
        np.testing.assert_array_equal(own.iteration.linear, alone.iteration.linear)
        assert own.source == alone.source


def test_a_slow_machine_takes_longer() -> None:
    cost = derive(deployed(also=(group("H100-SXM", speed=0.5),)), 1000)
    first, slow = cost.kinds
    np.testing.assert_array_equal(slow.iteration.linear, 2 * first.iteration.linear)
    assert slow.iteration.base == 2 * first.iteration.base
    assert slow.memory == first.memory
    assert any("2 times as long" in note for note in slow.notes)
    assert derive(deployed(speed=0.5), 1000).iteration.base == 2 * first.iteration.base


def test_another_pace_is_that_of_all_kinds() -> None:
    cost = scaled(derive(deployed(also=(group("A100-80GB"),)), 1000), 3.0)
    alone = derive(deployed("A100-80GB"), 1000)
    assert cost.also[0].iteration.decode_ctx == round(3 * alone.iteration.decode_ctx)


def test_kinds_of_pools_come_in_the_order_of_their_replicas() -> None:
    first = deployed(also=(group("A100-80GB"),))
    decode = DecodePool(
        find_accelerator("L40S"),
        find_link("PCIe4"),
        find_link("InfiniBand-NDR"),
        settings=first.settings,
        replicas=4,
    )
    both = replace(first, decode=decode)
    names = ["H100-SXM", "A100-80GB", "L40S"]
    assert [kind.accelerator.name for kind in both.kinds] == names
    assert [kind.replicas for kind in both.kinds] == [2, 1, 4]
    sources = [cost.source for cost in derive(both, 1000).kinds]
    assert all(name in source for name, source in zip(names, sources, strict=True))


def test_replicas_agree_in_all_that_a_scheduler_sees() -> None:
    first = deployed()
    other = group("A100-80GB")
    short = replace(other, settings=replace(first.settings, max_model_len=5000))
    assert replace(first, also=(short,)).kinds[1].settings.max_model_len == 5000
    wide = replace(other, settings=replace(first.settings, max_num_seqs=3))
    with pytest.raises(ValueError, match="differ in no settings but"):
        replace(first, also=(wide,))
    with pytest.raises(ValueError, match="data-parallel ranks"):
        replace(first, also=(replace(other, parallelism=Parallelism(dp=2)),))
    with pytest.raises(ValueError, match="speed"):
        replace(other, speed=0.0)
