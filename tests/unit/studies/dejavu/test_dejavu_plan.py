"""The planner: the published table, memory, gaps, and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.studies.dejavu.appendix_b import Question, make_plan, write_plan
from servetwin.studies.dejavu.model_info import ModelTimes, derived_times, read_times
from servetwin.studies.dejavu.plan_files import check_price, conditions_beside, read_csv, results_of
from servetwin.studies.dejavu.planning import KINDS, Machine, plan
from servetwin.studies.dejavu.verdict import seed_speedups, verdict

TIMES = ModelTimes("OPT-30B", {1: 240.0, 8: 1920.0}, {1: 24.63, 8: 30.36}, "given")
ROUNDS = np.array([55, 62, 73, 46, 330, 294, 90, 140, 41, 270, 73])


def test_the_published_table_to_the_last_byte(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "reference" / "dejavu"
    if not folder.is_dir():
        pytest.skip("the reference outputs are not there")
    question = Question(
        "OPT-30B",
        Machine(64.0, 8.0),
        folder / "trace16p.json",
        folder / "model_info_small.json",
        semantics="original",
    )
    table, beside = write_plan(make_plan(question), tmp_path / "plan.csv")
    assert table.read_text() == (folder / "planner_opt30_4v100.csv").read_text()
    content = json.loads(beside.read_text())
    assert [row["num_machines"] for row in content["rows"]] == [1, 2, 4, 6, 8, 10, 12, 14, 16]
    assert content["rows"][0]["DéjàVu"] is None
    assert content["rows"][2]["Baseline-DP"]["replicas"] == 2
    assert content["rows"][2]["DéjàVu"]["stages"] == [2, 2]


def test_causal_equals_original_where_all_arrive_at_once_in_one_ring() -> None:
    machine = Machine(64.0)
    causal = plan(TIMES, ROUNDS, machine, semantics="causal")
    original = plan(TIMES, ROUNDS, machine, semantics="original")
    for mine, theirs in zip(causal, original, strict=True):
        a, b = mine.cells[0], theirs.cells[0]
        assert a is not None
        assert b is not None
        assert a.makespan_s == pytest.approx(b.makespan_s, rel=1e-9)


def test_no_request_is_dropped_by_data_parallelism() -> None:
    times = ModelTimes("OPT-13B", {1: 10.0}, {1: 1.0}, "given")
    one_each = plan(times, np.array([5, 5, 500]), Machine(80.0), semantics="causal", machines=[2])
    dropped = plan(times, np.array([5, 5, 500]), Machine(80.0), semantics="original", machines=[2])
    causal, original = one_each[0].cells[1], dropped[0].cells[1]
    assert causal is not None
    assert original is not None
    assert causal.makespan_s == pytest.approx(0.510)
    assert original.makespan_s == pytest.approx(0.015)


def test_what_does_not_fit_is_a_gap_everywhere(tmp_path: Path) -> None:
    question = Question("BLOOM-176B", Machine(320.0, 18.52), Path("lmsys_tokens.json"))
    planned = make_plan(question)
    first, second = planned.rows[0], planned.rows[1]
    assert first.cells == (None, None, None)
    assert second.cells[0] is not None
    assert second.cells[1:] == (None, None)
    table, _ = write_plan(planned, tmp_path / "plan.csv")
    again = read_csv(table)
    assert again.makespans == planned.results.makespans
    assert again.costs == planned.results.costs
    assert "With 1 machine nothing fits; with 2 machines only Baseline fits." in planned.verdict()
    assert any("nothing fits: Baseline with 1" in note for note in planned.notes)


def test_nothing_fits_at_all() -> None:
    rows = plan(TIMES, ROUNDS, Machine(1.0), semantics="causal", machines=[1, 2])
    results = results_of(rows, 8.0)
    assert seed_speedups(results)[0] == "SPEEDUP-DP: no number of machines fits both"
    assert verdict(results, TIMES, 100.0).startswith("Nothing fits")
    assert "batches of" not in verdict(results, TIMES, 100.0)


def test_a_price_that_is_not_that_of_the_costs_is_refused(tmp_path: Path) -> None:
    question = Question("OPT-30B", Machine(64.0, 8.0), Path("lmsys_tokens.json"), requests=20)
    planned = make_plan(question)
    table, beside = write_plan(planned, tmp_path / "plan.csv")
    results = read_csv(table)
    check_price(results, table, 8.0)
    with pytest.raises(InputError, match=r"are those of 8 \$/h .* give --machine_cost 8"):
        check_price(results, table, 80.0)
    lines = conditions_beside(table)
    assert lines[0].startswith("20 requests")
    assert "stand in for the unpublished trace; times of servetwin's cost model" in lines[1]
    beside.write_text("[]")
    assert conditions_beside(table) == ()


def test_the_speedups_are_the_largest_quotients() -> None:
    rows = plan(TIMES, ROUNDS, Machine(64.0), semantics="original")
    makespans = results_of(rows, 0.0).makespans
    pairs = [
        (a / b) for a, b in zip(makespans[KINDS[0]], makespans[KINDS[2]], strict=True) if a and b
    ]
    line = seed_speedups(results_of(rows, 0.0))[1]
    assert line.startswith(f"SPEEDUP-DV-BASELINE: {max(pairs)} (")


def test_times_of_our_cost_model_grow_with_the_batch() -> None:
    times = derived_times("opt-66b", "A100-80GB", 4)
    assert times.model == "OPT-66B"
    assert times.batch_sizes == [16, 32, 64]
    prompts, tokens = list(times.prompt_ms.values()), list(times.token_ms.values())
    # Prompts are bound by compute, tokens by the weights that every step reads.
    assert prompts[2] / prompts[0] == pytest.approx(4, rel=0.02)
    assert 1.2 < tokens[2] / tokens[0] < 3
    # 132 GB of weights at most at the bandwidth of four devices.
    assert tokens[0] > 132e9 / (4 * 2.039e12) * 1e3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "no model 'OPT-30B'"),
        ('{"OPT-66B": {}}', "did you mean OPT-66B?"),
        ('{"OPT-30B": {}}', "key OPT-30B.measurements_per_bs: a dict with entries is needed"),
        (
            '{"OPT-30B": {"measurements_per_bs": {"1": [1, 2]}, "batch_sizes": [2, 1]}}',
            "key OPT-30B.batch_sizes: must be whole numbers that ascend",
        ),
        (
            '{"OPT-30B": {"measurements_per_bs": {"1": [1]}, "batch_sizes": [1]}}',
            "key OPT-30B.measurements_per_bs.1: must be [prompt ms, token ms]",
        ),
        (
            '{"OPT-30B": {"measurements_per_bs": {"1": [1, -2]}, "batch_sizes": [1]}}',
            "must be [prompt ms, token ms]",
        ),
    ],
)
def test_bad_times(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "model_info.json"
    path.write_text(content)
    with pytest.raises(InputError) as told:
        read_times(path, "OPT-30B")
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (",Num_machines,Baseline,Baseline_dp,DV\n", "lacks the column Cost_baseline"),
        (
            ",Num_machines,Baseline,Baseline_dp,DV,Cost_baseline,Cost_baseline_dp,Cost_dv\n",
            "needs 1 to 1,000 rows, has 0",
        ),
        (
            ",Num_machines,Baseline,Baseline_dp,DV,Cost_baseline,Cost_baseline_dp,Cost_dv\n"
            "0,2,x,1,1,1,1,1\n",
            "plan.csv:2: Baseline is 'x', not a number of 0 or more",
        ),
        (
            ",Num_machines,Baseline,Baseline_dp,DV,Cost_baseline,Cost_baseline_dp,Cost_dv\n0,2,1\n",
            "plan.csv:2: Baseline_dp is ''",
        ),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        read_csv(path)
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("GPT", Machine(64.0), Path("lmsys_tokens.json")), "--model 'GPT'"),
        (
            Question("OPT-30B", Machine(64.0), Path("lmsys_tokens.json"), Path("mine.json")),
            "--config_file 'mine.json': no such file",
        ),
        (
            Question("OPT-30B", Machine(64.0), Path("lmsys_tokens.json"), gpu="A100-81GB"),
            "A100-81GB",
        ),
        (
            Question("OPT-30B", Machine(64.0), Path("lmsys_tokens.json"), gpus=3),
            "--gpus_per_machine 3: must divide the 56 heads",
        ),
    ],
)
def test_bad_questions(question: Question, message: str) -> None:
    with pytest.raises(InputError) as told:
        make_plan(question)
    assert message in str(told.value)
