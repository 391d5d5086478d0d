"""Corrections: recovered from times they made, and kept to their model and GPU."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, resolve_settings
from servetwin.errors import InputError
from servetwin.sim.closed_form import Correction, Servetwin, apply_correction, find_correction
from servetwin.sim.closed_form.correction import LoneRequests, every_other, fit_correction
from servetwin.types import Deployment
from servetwin.units import PS_PER_S


def deployment(model: str = "meta-llama/Meta-Llama-3-8B", gpu: str = "A10") -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    settings = resolve_settings(found, accelerator, scheduler="single")
    return Deployment(found, accelerator, find_link(accelerator.link), settings=settings)


def test_a_correction_of_nothing_changes_nothing():
    target = deployment()
    plain, same = derive(target, 1000), apply_correction(target, Correction(1.0, 1.0, 0.0))
    given, made = np.array([1, 700, 8000]), np.array([5, 6, 7])
    for name in ("prefill", "decode"):
        arguments = (given,) if name == "prefill" else (given, made)
        np.testing.assert_array_equal(
            getattr(Servetwin(target, plain), name)(*arguments),
            getattr(Servetwin(target, same), name)(*arguments),
        )
    assert "corrected" in same.source
    assert "corrected" not in plain.source


def test_the_constant_counts_once_a_prompt():
    target, one = deployment(), np.array([100])
    plain, later = (Servetwin(target, apply_correction(target, Correction(1.0, 1.0, seconds)))
                    for seconds in (0.0, 0.25))  # fmt: skip
    assert later.prefill(one)[0] - plain.prefill(one)[0] == PS_PER_S // 4
    assert later.decode(one, one)[0] == plain.decode(one, one)[0]


def test_a_fit_finds_what_made_the_times():
    target = deployment()
    truth = Correction(0.4, 0.9, 0.01)
    model = Servetwin(target, apply_correction(target, truth))
    lengths = 2 ** np.arange(6, 14)
    ones, nothing = np.ones(8, np.int64), np.full(8, np.nan)
    total = model.prefill(ones) + model.decode(ones, lengths)
    points = LoneRequests(
        np.concatenate([lengths, ones]),
        np.concatenate([ones, lengths]),
        np.concatenate([model.prefill(lengths) / PS_PER_S, nothing]),
        np.concatenate([nothing, total / PS_PER_S]),
    )
    found = fit_correction(target, points)
    assert found.compute == pytest.approx(truth.compute, rel=1e-3)
    assert found.memory == pytest.approx(truth.memory, rel=1e-3)
    assert found.prompt_s == pytest.approx(truth.prompt_s, rel=2e-2)
    assert (found.model, found.gpu) == (target.model.name, "A10")


def test_a_correction_stays_with_its_model_and_gpu():
    correction = find_correction("kavier-a10")
    apply_correction(deployment(), correction)
    with pytest.raises(InputError, match="GPU A10 alone, not L4"):
        apply_correction(deployment(gpu="L4"), correction)
    with pytest.raises(InputError, match=r"model .* alone, not mistral"):
        apply_correction(deployment("mistralai/Mistral-7B-v0.1"), correction)


def test_unknown_corrections_name_the_known():
    with pytest.raises(InputError, match="did you mean kavier-a10"):
        find_correction("kavier-a100")


def test_every_other_point_is_in_one_half():
    assert every_other(5).tolist() == [True, False, True, False, True]
    assert (every_other(6) ^ every_other(6, 1)).all()


def test_factors_must_make_sense():
    for values in ((0.0, 1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 1.0, -0.1)):
        with pytest.raises(ValueError, match="positive"):
            Correction(*values)
