"""Which formulas a run gets."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.cost.energy import Rates
from servetwin.errors import InputError
from servetwin.sim.closed_form import Servetwin, apply_correction, find_correction
from servetwin.studies.kavier.running import Job, check_run, closed_form, run_one
from servetwin.studies.kavier.settings import KavierRun, sweep_of
from servetwin.studies.kavier_experiments.models import ours
from servetwin.types import Workload

ASKED, MADE = np.array([7, 4096], np.int64), np.array([8192, 1], np.int64)


@pytest.fixture
def requests() -> Workload:
    return Workload(np.zeros(1, np.int64), np.array([1024], np.int32), np.array([8], np.int32))


def run(**flags: str) -> KavierRun:
    (found,) = sweep_of({"llm": "Llama-3-8B", "gpu": "A10", "trace": "any", **flags}).runs
    return found


@pytest.mark.parametrize("name", ["kavier-a10", "kavier-a10-counted"])
def test_a_correction_is_that_of_the_experiments(name: str) -> None:
    form = closed_form(run(model="servetwin", correction=name.upper()))
    plain, expected = closed_form(run(model="servetwin")), ours("Llama-3-8B", "A10", name)
    cost = apply_correction(expected.deployment, find_correction(name))
    assert (expected.prefill(ASKED) == Servetwin(expected.deployment, cost).prefill(ASKED)).all()
    assert (form.prefill(ASKED) == expected.prefill(ASKED)).all()
    assert (form.decode(ASKED, MADE) == expected.decode(ASKED, MADE)).all()
    assert (form.prefill(ASKED) > plain.prefill(ASKED)).all()
    assert "corrected" in form.source


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"correction": "kavier-a10"}, "is one of --model servetwin"),
        ({"model": "servetwin", "correction": "kavier-a11"}, "did you mean kavier-a10"),
        ({"model": "servetwin", "correction": "kavier-a10", "gpu": "A100-80GB"}, "GPU A10 alone"),
    ],
)
def test_a_correction_that_does_not_apply_is_refused(flags: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_run(run(**flags))


@pytest.mark.parametrize(
    ("flags", "says", "hint"),
    [
        ({"model": "servetwin"}, "costs: roofline of A10", "--correction kavier-a10"),
        ({"model": "servetwin", "correction": "kavier-a10"}, "corrected: Kavier's A10 runs", ""),
        ({"model": "servetwin", "gpu": "A100-80GB"}, "costs: roofline of A100-80GB", ""),
    ],
)
def test_times_of_ours_say_what_they_come_from(
    flags: dict[str, str], says: str, hint: str, requests: Workload
) -> None:
    (note,) = (note for note in run_one(run(**flags), requests, Job(Rates())).notes if says in note)
    assert note.endswith(hint)
    assert hint or "--correction" not in note


def test_kaviers_formulas_have_no_costs_of_ours(requests: Workload) -> None:
    assert not [n for n in run_one(run(), requests, Job(Rates())).notes if n.startswith("costs")]


def test_none_is_no_correction() -> None:
    assert run(correction="none") == run()
