"""Intervals, verdict and evidence in words."""

from __future__ import annotations

from servetwin.report.interval_wording import evidence_lines, interval_cell, interval_lines

METRICS = {
    "intervals": {
        "nominal": 0.8,
        "ttft_ms": {"mean": [120.0, 240.0]},
        "tpot_ms": {"mean": [9.5, 1250.0]},
        "e2e_latency_s": {"mean": [0.5, 0.75]},
        "throughput_token_s": [900.0, 1200.0],
    },
    "verdict": {"load": "near the knee", "because": "the queue grows"},
}


def test_each_figure_has_the_unit_that_suits_its_upper_end() -> None:
    assert interval_lines(METRICS) == {
        "Load": "near the knee: the queue grows",
        "80 % range": (
            "of means: TTFT 120 to 240 ms; TPOT 0.0095 to 1.25 s; E2E 500 to 750 ms; 900 to 1,200 "
            "tokens/s"
        ),
    }


def test_cells_have_the_unit_of_their_row() -> None:
    assert interval_cell(METRICS, "ttft_ms", "ms") == "120 to 240"
    assert interval_cell(METRICS, "e2e_latency_s", "ms") == "500 to 750"
    assert interval_cell(METRICS, "queue_ms", "ms") == ""


def test_runs_without_intervals_say_nothing() -> None:
    for metrics in ({}, {"intervals": None, "verdict": None}):
        assert interval_lines(metrics) == {}
        assert interval_cell(metrics, "ttft_ms", "ms") == ""
    assert evidence_lines({}) == {}
    assert evidence_lines({"evidence": {"nearest": None}}) == {}


def test_requests_that_did_not_complete_leave_their_metric_out() -> None:
    intervals = {**METRICS["intervals"], "ttft_ms": {"mean": None}, "throughput_token_s": None}
    line = interval_lines({"intervals": intervals})["80 % range"]
    assert line.startswith("of means: TPOT")
    assert "tokens/s" not in line


def test_the_nearest_measurement_is_told_with_its_differences_and_errors() -> None:
    nearest = {
        "what": "X (bf16) on H100-SXM with vLLM",
        "source": "inferencex",
        "differs": ["another GPU", "weights fp8 instead of bf16"],
        "points": 20,
        "median_error": {"ttft": 0.184, "throughput": 0.05},
    }
    assert evidence_lines({"evidence": {"nearest": nearest}}) == {
        "Measured": (
            "nearest: X (bf16) on H100-SXM with vLLM, inferencex; another GPU; weights fp8 "
            "instead of bf16 (tp, lengths and load not compared); 20 points, off by TTFT 18 %, "
            "tokens/s 5 % (medians)"
        )
    }
    same = evidence_lines({"evidence": {"nearest": {**nearest, "differs": []}}})["Measured"]
    assert "same model, weights, GPU and engine (tp, lengths and load not compared);" in same
