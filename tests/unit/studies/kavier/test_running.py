"""Which formulas a run gets."""

from __future__ import annotations

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.studies.kavier.running import check_run, closed_form
from servetwin.studies.kavier.settings import KavierRun, sweep_of
from servetwin.studies.kavier_experiments.models import ours

ASKED, MADE = np.array([7, 4096], np.int64), np.array([8192, 1], np.int64)


def run(**flags: str) -> KavierRun:
    (found,) = sweep_of({"llm": "Llama-3-8B", "gpu": "A10", "trace": "any", **flags}).runs
    return found


@pytest.mark.parametrize("name", ["kavier-a10", "kavier-a10-counted"])
def test_a_correction_is_that_of_the_experiments(name: str) -> None:
    form = closed_form(run(model="servetwin", correction=name.upper()))
    plain, expected = closed_form(run(model="servetwin")), ours("Llama-3-8B", "A10", name)
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


def test_none_is_no_correction() -> None:
    assert run(correction="none") == run()
