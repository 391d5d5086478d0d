from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.errors import InputError
from servetwin.workload.arrivals import (
    Arrivals,
    AtOnce,
    ClosedLoop,
    GammaGaps,
    OpenLoop,
    Replay,
    Think,
)
from servetwin.workload.lengths import Fixed, Lengths, Lognormal, Uniform, Zipf
from servetwin.workload.notation import (
    ARRIVAL_WORDS,
    LENGTH_WORDS,
    parse_arrivals,
    parse_duration,
    parse_lengths,
)
from servetwin.workload.presets import preset_info
from servetwin.workload.rates import Bursts, Diurnal, Drift


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("512", Fixed(512)),
        (" fixed:512 ", Fixed(512)),
        ("100..2000", Uniform(100, 2000)),
        ("uniform:100..2000", Uniform(100, 2000)),
        ("Uniform: min=100, max=2000", Uniform(100, 2000)),
        ("zipf:1.2,max=8192", Zipf(1.2, 8192)),
        ("zipf:exponent=1.2,min=5,max=8192", Zipf(1.2, 8192, 5)),
        ("lognormal:mean=1024,p90=2000", Lognormal.from_mean_p90(1024, 2000)),
        ("lognormal:median=700,sigma=0.9,max=8192", Lognormal(700, 0.9, 1, 8192)),
        ("lognormal:mean=700,sigma=0.9,min=4", Lognormal.from_mean(700, 0.9, 4)),
        ("lognormal:median=700,p90=2000", Lognormal.from_median_p90(700, 2000)),
        ("azure-conv.output", preset_info("azure-conv").output),
    ],
)
def test_lengths(text: str, lengths: Lengths) -> None:
    assert parse_lengths(text) == lengths


@pytest.mark.parametrize(
    ("text", "rps", "arrivals"),
    [
        ("poisson", 5.0, OpenLoop(5.0)),
        ("constant", 5.0, OpenLoop(5.0, GammaGaps(0.0))),
        ("gamma:cv=2", 5.0, OpenLoop(5.0, GammaGaps(2.0))),
        ("gamma:2", 5.0, OpenLoop(5.0, GammaGaps(2.0))),
        ("once", None, AtOnce()),
        ("closed:32", None, ClosedLoop(32)),
        ("closed:concurrency=32,think=1s", None, ClosedLoop(32, Think(1.0))),
        ("closed:concurrency=32,think=exp(250ms)", None, ClosedLoop(32, Think(0.25, True))),
        ("bursts:factor=10,on=5s,off=1m", 2.0, OpenLoop(2.0, shape=Bursts(10.0, 5.0, 60.0))),
        ("diurnal", 2.0, OpenLoop(2.0, shape=Diurnal(86_400.0, 0.5))),
        (
            "diurnal:period=1h,amplitude=0.8,cv=2",
            2.0,
            OpenLoop(2.0, GammaGaps(2.0), Diurnal(3600.0, 0.8)),
        ),
        ("drift:sd=0.2,hold=300", 2.0, OpenLoop(2.0, shape=Drift(0.2, 300.0))),
    ],
)
def test_arrivals(text: str, rps: float | None, arrivals: Arrivals) -> None:
    assert parse_arrivals(text, rps) == arrivals


def test_the_examples_in_the_messages_are_right() -> None:
    for example in LENGTH_WORDS.values():
        for text in example.split(", or just "):
            parse_lengths(text)
    for word, example in ARRIVAL_WORDS.items():
        if word != "trace":
            parse_arrivals(example, None if word in ("once", "closed") else 1.0)


def test_arrivals_of_a_trace_file_at_its_rate_or_another(tmp_path: Path) -> None:
    file = tmp_path / "a,b=c:d.csv"
    file.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,5\n2,5,5\n6,5,5\n")
    for rps, end in ((None, 6), (1.0, 2)):
        arrivals = parse_arrivals(f"trace:{file}", rps)
        assert isinstance(arrivals, Replay)
        assert arrivals.workload.span_ps == end * 10**12


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1.5s", 1.5), ("2m", 120.0), ("24h", 86_400.0), ("7", 7.0), ("1e3us", 1e-3)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "known are fixed"),
        ("logormal:mean=3,p90=4", "did you mean lognormal"),
        ("azure-cnov.input", "did you mean azure-conv"),
        ("zipf:1.2", "lacks max: write zipf:1.2,max=8192"),
        ("zipf:1.2,mx=8", "lacks max"),
        ("zipf:1.2,max=8,maxx=9", "unknown setting 'maxx'; did you mean max"),
        ("zipf:1.2,max=8.5", "max must be a whole number"),
        ("zipf:1.2,max=8,max=9", "misplaced"),
        ("zipf:max=8,1.2", "misplaced"),
        ("lognormal:mean=1024", "sigma or p90"),
        ("lognormal:mean=1024,p90=3000", "between 1024 and 2328"),
        ("lognormal:mean=x,p90=3", "'x' is not a number"),
        ("uniform:5-9", "not a range"),
        ("0", "between 1 and"),
        ("-5", "between 1 and"),
        ("512.5", "not understood"),
        ("9..3", "low must not exceed high"),
        ("fixed:1e400", "not a number"),
    ],
)
def test_unreadable_lengths(text: str, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_lengths(text)


@pytest.mark.parametrize(
    ("text", "rps", "part"),
    [
        ("poison", 1.0, "did you mean poisson"),
        ("poisson", None, "need a rate: give --rps"),
        ("closed:32", 4.0, "leave --rps away"),
        ("closed", None, "lacks concurrency"),
        ("closed:32,think=1fortnight", None, "not a duration"),
        ("closed:32,thinks=1s", None, "did you mean think"),
        ("gamma", 1.0, "lacks cv"),
        ("poisson:cv=2", 1.0, "unknown setting 'cv'"),
        ("bursts:factor=10,on=5s", 1.0, "lacks off"),
        ("poisson", 0.0, "rate 0"),
        ("trace", 1.0, "lacks its file: write trace:FILE"),
        ("trace: ", None, "lacks its file"),
        ("trace:/no/such/file.csv", None, "no such file"),
    ],
)
def test_unreadable_arrivals(text: str, rps: float | None, part: str) -> None:
    with pytest.raises(InputError, match=part):
        parse_arrivals(text, rps)


words = st.sampled_from([*LENGTH_WORDS, *ARRIVAL_WORDS, "max", "min", "mean", "p90", "on", "exp("])
pieces = st.one_of(words, st.sampled_from(list(":,=.()-e ")), st.integers().map(str), st.text())


@given(st.lists(pieces, max_size=8).map("".join))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for parse in (parse_lengths, lambda t: parse_arrivals(t, 1.0), lambda t: parse_arrivals(t)):
        problem = ""
        try:
            parse(text)
        except InputError as error:
            problem = str(error)
        assert len(problem.splitlines()) <= 1
