"""Reading objectives and counting the requests that meet them."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.results.slo import Slo, count_met, parse_slo
from servetwin.types import Status
from servetwin.units import MAX_TIME_PS, PS_PER_MS, PS_PER_S, PS_PER_US
from support.runs import request_table


def test_every_unit_and_the_share_are_read() -> None:
    assert parse_slo("ttft=500ms, tpot=50.5us,e2e=10s,p=0.95") == Slo(
        ttft=500 * PS_PER_MS, tpot=50_500_000, e2e=10 * PS_PER_S, share=0.95
    )
    assert parse_slo("tpot=3us") == Slo(tpot=3 * PS_PER_US, share=0.99)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not name=value"),
        ("ttft", "not name=value"),
        ("ttft=", "not name=value"),
        ("tttf=500ms", "did you mean ttft"),
        ("latency=5ms", "known are"),
        ("ttft=500", "needs a number and"),
        ("ttft=-5ms", "needs a number and"),
        ("ttft=nan s", "needs a number and"),
        ("ttft=1e3ms", "needs a number and"),
        ("ttft=0ms", "above 0"),
        ("ttft=0.0000001ns", "above 0"),
        ("e2e=99999999s", "90 days"),
        ("ttft=5ms,ttft=6ms", "twice"),
        ("ttft=5ms,p=99", "not a share"),
        ("ttft=5ms,p=nan", "not a share"),
        ("ttft=5ms,p=x", "not a share"),
        ("p=0.9", "at least one of"),
    ],
)
def test_a_mistake_is_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        parse_slo(text)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_slo(text).limits


@pytest.mark.parametrize(
    "values", [{}, {"ttft": 0}, {"e2e": MAX_TIME_PS + 1}, {"ttft": 1, "share": 0.0}]
)
def test_figures_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"SLO|share"):
        Slo(**values)


def test_limits_are_compared_exactly() -> None:
    table = request_table(
        arrival=[0, 0, 0, 0, 0],
        first_token=[100, 101, 100, 100, 100],
        finish=[130, 131, 131, 100, 130],
        output_tokens=[4, 4, 4, 1, 4],
        status=[Status.OK, Status.OK, Status.OK, Status.OK, Status.TIMEOUT],
    )
    # TPOT 10, 10, 10 1/3, undefined (which meets any limit), and a request that timed out.
    met = count_met(table, Slo(ttft=100, tpot=10, e2e=131))
    assert met == {"ttft": 3, "tpot": 3, "e2e": 4, "all": 2}
    assert count_met(table, Slo(tpot=10)) == {"tpot": 3, "all": 3}


def test_a_request_that_never_arrived_meets_nothing() -> None:
    table = request_table(arrival=[-1, 0], status=[Status.UNFINISHED, Status.OK])
    assert count_met(table, Slo(ttft=MAX_TIME_PS)) == {"ttft": 0, "all": 0}


def test_many_rows_are_counted_in_parts() -> None:
    n = 600_001
    arrival = np.arange(n)
    table = request_table(arrival=arrival, first_token=arrival + arrival % 2, finish=arrival + 2)
    assert count_met(table, Slo(ttft=1, e2e=2))["all"] == n
    assert count_met(table, Slo(e2e=1))["all"] == 0


def test_one_token_meets_any_tpot_and_two_have_one() -> None:
    """A measured stream may end after its only token."""
    table = request_table(
        arrival=[0] * 4, first_token=[1] * 4, finish=[99, 99, 99, 11], output_tokens=[1, 2, 2, 2]
    )
    assert count_met(table, Slo(tpot=10)) == {"tpot": 2, "all": 2}
