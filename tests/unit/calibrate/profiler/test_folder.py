"""Profiles on the disk: written, gone on with, and read back as a cost of level `profiled`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin.calibrate.profiler import (
    Limits,
    Plan,
    Profile,
    describe,
    open_profile,
    plan_profile,
)
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.profiles import cost_from_profiles
from servetwin.errors import InputError
from servetwin.types import CostModel, Deployment, Parallelism
from servetwin.units import GIB

US = 1_000_000
"""Picoseconds."""


def plan(tp: int = 1, *, quick: bool = True, collectives: bool = False) -> Plan:
    limits = Limits(4.0 * GIB, quick=quick, collectives=collectives)
    return plan_profile(find_model("gpt2"), tp, 2, limits)


def meta(graphs: bool = False, **changed: str) -> dict[str, Any]:
    machine = {"device": "Abacus, 1 thread", "driver": "Beads 2", "torch": "2.13", "graphs": graphs}
    model = "openai-community/gpt2"
    return describe(hardware="CPU", model=model, dtype="bf16", machine=machine) | changed


def filled(folder: Path, wanted: Plan, **changed: Any) -> Profile:
    """Every operation takes 2 us; attention 1 us for each token it reads or computes."""
    profile = open_profile(folder, wanted.shapes.tp, meta(**changed))
    for point in wanted.points:
        chunk, _, decodes, context = point.sizes if len(point.sizes) == 4 else (0, 0, 0, 0)
        profile.seconds[point] = (chunk + decodes * context or 2) * 1e-6
    profile.save(wanted)
    return profile


def cost(folder: Path, tp: int = 1, **settings: Any) -> CostModel:
    model, accelerator = find_model("gpt2"), find_accelerator("CPU")
    chosen = resolve_settings(model, accelerator, quantization="bf16", **settings)
    link = find_link(accelerator.link)
    deployment = Deployment(model, accelerator, link, Parallelism(tp=tp), chosen)
    return cost_from_profiles(deployment, folder, 500)


def test_the_importer_reads_what_the_profiler_writes(tmp_path: Path) -> None:
    wanted = plan()
    filled(tmp_path, wanted)
    found = cost(tmp_path)
    assert found.level == "profiled"
    for words in ("on CPU", "Abacus, 1 thread", "Beads 2", "torch 2.13", "servetwin's profiler"):
        assert words in found.source
    # Twelve layers: four GEMMs, activation, cache write, sums and two norms; two things once.
    assert found.iteration.linear[1] == (12 * 9 + 2) * 2 * US
    # Head, sampler, and the host, which is the device.
    assert found.iteration.head[1] == 3 * 2 * US
    assert found.iteration.attention is not None
    assert found.iteration.attention.decode(4, 4 * 256) == 12 * 4 * 256 * US


def test_nothing_is_padded_where_launches_count(tmp_path: Path) -> None:
    wanted = plan()
    profile = filled(tmp_path, wanted)
    for point in wanted.points:
        if point.layer == "qkv_proj":
            profile.seconds[point] = point.sizes[0] * 1e-6
    profile.save(wanted)
    linear = cost(tmp_path).iteration.linear
    assert linear[4] < linear[5] < linear[8]
    profile.meta["graphs"] = True
    profile.save(wanted)
    linear = cost(tmp_path).iteration.linear
    assert linear[4] < linear[5] == linear[8]


def test_the_host_is_hidden_where_it_works_ahead_of_a_gpu(tmp_path: Path) -> None:
    filled(tmp_path, plan(), graphs=True)
    ahead, behind = (
        cost(tmp_path, async_scheduling=chosen).iteration.head[1] for chosen in (True, False)
    )
    assert (ahead, behind) == (2 * 2 * US, 3 * 2 * US)


def test_collectives_twice_a_layer(tmp_path: Path) -> None:
    filled(tmp_path / "alone", plan(2))
    filled(tmp_path / "group", plan(2, collectives=True))
    alone, group = (cost(tmp_path / name, 2).iteration.linear[1] for name in ("alone", "group"))
    assert group == (12 * 9 + 2 + 24) * 2 * US
    assert alone != group


def test_both_kinds_of_attention_in_one_iteration(tmp_path: Path) -> None:
    filled(tmp_path / "quick", plan())
    filled(tmp_path / "whole", plan(quick=False))
    notes = [" ".join(cost(tmp_path / name).notes) for name in ("quick", "whole")]
    assert ["in one call" in words for words in notes] == [True, False]


def test_an_interrupted_profile_is_gone_on_with(tmp_path: Path) -> None:
    wanted = plan()
    profile = open_profile(tmp_path, 1, meta())
    for point in wanted.points[:30]:
        profile.seconds[point] = 3.25e-6
    profile.save(wanted)
    with pytest.raises(InputError, match="not finished; give the same"):
        cost(tmp_path)
    again = open_profile(tmp_path, 1, meta())
    assert again.missing(wanted) == list(wanted.points[30:])
    assert again.seconds == pytest.approx(profile.seconds)
    for point in again.missing(wanted):
        again.seconds[point] = 1e-6
    again.save(wanted)
    assert cost(tmp_path).level == "profiled"


def test_two_degrees_lie_side_by_side(tmp_path: Path) -> None:
    for tp in (1, 2):
        filled(tmp_path, plan(tp))
    assert cost(tmp_path, 1).source != cost(tmp_path, 2).source


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"torch": "2.12"}, "holds timings with torch '2.13', not '2.12'"),
        ({"device": "Abacus, 2 threads"}, "holds timings with device"),
        ({"variant": "fp32"}, "holds timings with variant 'bf16', not 'fp32'"),
    ],
)
def test_another_machine_needs_another_folder(
    changed: dict[str, str], message: str, tmp_path: Path
) -> None:
    filled(tmp_path, plan())
    with pytest.raises(InputError, match=message):
        open_profile(tmp_path, 1, meta(**changed))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InputError, match="holds other files"):
        open_profile(tmp_path, 1, meta())
    with pytest.raises(InputError, match="is a file"):
        open_profile(tmp_path / "letter.txt", 1, meta())
    (tmp_path / "meta.yaml").write_text("[1, 2")
    with pytest.raises(InputError, match="not readable as YAML"):
        open_profile(tmp_path, 1, meta())
