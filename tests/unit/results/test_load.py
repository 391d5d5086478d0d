"""Points of a load curve and its knee."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from servetwin.results import LoadPoint, Slo, knee, load_point, summary
from support.runs import Shape, synthetic_run


def queue_point(rate: float, capacity: float = 10.0) -> LoadPoint:
    """An M/M/1 queue, whose power is greatest at half its capacity."""
    latency = 1 / (capacity - rate)
    return LoadPoint(rate, None, None, None, None, latency, None, None, rate, None)


def test_the_knee_of_a_single_queue_is_at_half_its_capacity() -> None:
    points = [queue_point(rate) for rate in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    found = knee(points)
    assert found is not None
    assert found.offered_rps == 5


@given(st.permutations([1.0, 2.0, 4.0, 6.0, 9.0]))
def test_the_order_of_points_does_not_matter(rates: list[float]) -> None:
    found = knee([queue_point(rate) for rate in rates])
    assert found is not None
    assert found.offered_rps in (4.0, 6.0)
    assert found == knee([queue_point(rate) for rate in sorted(rates)])


def test_two_points_have_no_knee() -> None:
    dead = replace(queue_point(3), completed_rps=None)
    assert knee([queue_point(1), queue_point(2), dead]) is None


def test_a_point_takes_its_figures_from_the_summary() -> None:
    content = summary(synthetic_run(Shape(rps=3)), Slo(ttft=10**12))
    point = load_point(3.0, content)
    metrics = content["metrics"]
    assert point.ttft_p99_ms == metrics["ttft_ms"]["p99"]
    assert point.tpot_p50_ms == metrics["tpot_ms"]["p50"]
    assert point.e2e_mean_s == metrics["e2e_latency_s"]["mean"]
    assert point.e2e_p99_s == metrics["e2e_latency_s"]["p99"]
    assert point.goodput_rps == metrics["goodput_req_s"]
    assert point.meets_slo is metrics["slo"]["met"]
