"""The profiler itself, with PyTorch, on a model that is tiny."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servetwin.calibrate.profiler import (
    Effort,
    Limits,
    Plan,
    describe,
    measure,
    open_backend,
    open_profile,
    plan_profile,
)
from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.profiles import cost_from_profiles
from servetwin.errors import InputError
from servetwin.types import Deployment, Model

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

SHORT = Effort(0.0, 1)
TINY = {"layers": 2, "vocab_size": 100, "max_model_len": 128, "intermediate_size": 64}


def tiny(name: str) -> Model:
    """Two narrow layers of the kind of a model."""
    model = find_model(name)
    shapes = {"hidden_size": 32, "heads": 4, "head_dim": 8}
    shared = {"kv_heads": 2 if model.kv_heads < model.heads else 4}
    positions = {"learned_positions": 128 if model.learned_positions else 0}
    return replace(model, attention=model.attention[:2], **TINY, **shapes, **shared, **positions)


def run(folder: Path, plan: Plan, tell: Any = lambda _done: None, device: str = "cpu") -> Any:
    backend = open_backend(device, "fp32", threads=1)
    name = plan.shapes.model.name
    meta = describe(hardware="CPU", model=name, dtype="fp32", machine=backend.machine())
    profile = open_profile(folder, 1, meta)
    measure(backend, plan, profile, SHORT, tell)
    return profile


@pytest.mark.parametrize("name", ["gpt2", "SmolLM2-135M"])
def test_all_operations_run(name: str, tmp_path: Path) -> None:
    plan = plan_profile(tiny(name), 1, 4, Limits(1e9, quick=True))
    seen: list[int] = []
    profile = run(tmp_path, plan, seen.append)
    assert seen == list(range(1, len(plan.points) + 1))
    assert profile.missing(plan) == []
    assert all(0 < seconds < 10 for seconds in profile.seconds.values())


def test_what_is_finished_is_kept_and_not_timed_again(tmp_path: Path) -> None:
    plan = plan_profile(tiny("gpt2"), 1, 4, Limits(1e9, quick=True))

    def interrupt(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, plan, interrupt)
    seen: list[int] = []
    profile = run(tmp_path, plan, seen.append)
    assert seen[0] == 21
    assert profile.meta["unfinished"] == []


def test_a_cost_from_this_machine(tmp_path: Path) -> None:
    model, accelerator = find_model("sshleifer/tiny-gpt2"), find_accelerator("CPU")
    run(tmp_path, plan_profile(model, 1, 4, Limits(2e9, quick=True)))
    settings = resolve_settings(model, accelerator, quantization="fp32")
    deployment = Deployment(model, accelerator, find_link("none"), settings=settings)
    cost = cost_from_profiles(deployment, tmp_path, 100)
    assert cost.level == "profiled"
    assert f"torch {torch.__version__}" in cost.source


def test_no_cuda_device() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(InputError, match="finds no CUDA device"):
        open_backend("cuda", "bf16")


@pytest.mark.gpu
def test_on_a_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    backend = open_backend("cuda", "bf16")
    limits = Limits(backend.free_memory(), large=True, quick=True)
    plan = plan_profile(find_model("gpt2"), 1, 2, limits)
    meta = describe(hardware="CPU", model="gpt2", dtype="bf16", machine=backend.machine())
    profile = open_profile(tmp_path, 1, meta)
    measure(backend, plan, profile, Effort(0.02, 3), lambda _done: None)
    assert profile.missing(plan) == []
    times = {point.sizes[0]: s for point, s in profile.seconds.items() if point.layer == "qkv_proj"}
    assert times[1] < times[1024]
    assert meta["graphs"] is True
