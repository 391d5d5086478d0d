"""The scoreboard without measured data: layouts, scores, baselines, and bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from servetwin.errors import InputError
from servetwin.studies.fidelity.baseline import grown, read_baseline, write_baseline
from servetwin.studies.fidelity.board import Board
from servetwin.studies.fidelity.command import find_data, parse_sets
from servetwin.studies.fidelity.points import Point, at_once, between, closed_loop, deploy, one
from servetwin.studies.fidelity.predict import predict
from servetwin.studies.fidelity.printing import cells, print_board
from servetwin.studies.fidelity.scores import Compared, score
from servetwin.studies.fidelity.sets.inferencex import layout_of
from servetwin.types import Parallelism
from servetwin.workload.lengths import Fixed


def row(
    model: str, tp: int, dp: str, slices: int, ep: int, source: str = "db-dump"
) -> dict[str, str]:
    sizes = {"tp_size": str(tp), "attention_dp_size": dp}
    experts = {"moe_tp_size": str(slices), "moe_ep_size": str(ep)}
    return {"model_path": model, "silicon_data_source": source, **sizes, **experts}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (row("deepseek-ai/DeepSeek-R1", 8, "1", 8, 1), Parallelism(tp=8)),
        (row("deepseek-ai/DeepSeek-R1", 8, "1", 1, 8), Parallelism(tp=8, ep=8)),
        # One group of 8, and of 4 GPUs, whose tp and ep were multiplied.
        (row("deepseek-ai/DeepSeek-R1", 64, "1", 8, 8), Parallelism(tp=8, ep=8)),
        (row("deepseek-ai/DeepSeek-R1", 1, "16", 4, 4), Parallelism(dp=4, ep=4)),
        (row("moonshotai/Kimi-K2.5", 4, "4", 1, 16), Parallelism(dp=4, ep=4)),
        (row("meta-llama/Llama-3.1-70B", 2, "1", 2, 1), Parallelism(tp=2)),
        # Vendor rows state sizes as they are.
        (row("Qwen/Qwen3-235B-A22B", 4, "", 2, 2, "x-gap-analysis.csv"), Parallelism(tp=4, ep=2)),
    ],
)  # fmt: skip
def test_sizes_of_an_engine(stated: dict[str, str], expected: Parallelism) -> None:
    assert layout_of(stated) == expected


def test_more_gpus_than_a_machine_has_are_pools() -> None:
    assert "pools" in str(layout_of(row("deepseek-ai/DeepSeek-R1", 72, "1", 72, 1)))


def compared(predicted: list[float], group: str = "g", fitted: bool = False) -> Compared:
    values = np.array(predicted)
    measured = np.full(values.size, 10.0)
    return Compared(
        "s", group, "p", "tpot", "derived", fitted, measured, values, values * 2, values, {}
    )


def test_scores_by_hand() -> None:
    [found] = score([compared([9.0, 11.0, 13.0]), compared([float("nan")])])
    assert found.points == 3
    assert found.median == pytest.approx(0.1)
    assert found.p90 == pytest.approx(0.26)
    assert found.bias == pytest.approx(0.1)
    assert found.mean == pytest.approx(0.5 / 3)
    assert found.unseen_gpu == pytest.approx(1.2)
    assert not found.met  # the GPU, left out, misses its own goal
    assert cells(found) == ["3", "10%", "26%", "+10%", "120%", "10%", "unmet"]


def test_what_the_small_board_leaves_out_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    item = replace(compared([9.0]), unseen_gpu=None, unseen_model=None)
    [found] = score([item])
    assert found.met
    assert cells(found) == ["1", "10%", "10%", "-10%", "-", "-", "met"]
    assert found.row()["unseen_gpu"] is None
    print_board(Board([found], [item], {}, {}, [], small=True))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("unseen") == 3


def test_fitted_points_are_a_row_of_their_own() -> None:
    rows = score([compared([9.0]), compared([20.0], fitted=True)])
    assert [(item.fitted, item.points) for item in rows] == [(False, 1), (True, 1)]


def test_groups_of_one_set_are_also_scored_together() -> None:
    rows = score([compared([9.0], "A, x"), compared([12.0], "A, y"), compared([12.0], "A, y")])
    assert {item.group: item.points for item in rows} == {"A, x": 1, "A, y": 2, "A, all": 3}


def test_baseline(tmp_path: Path) -> None:
    path = tmp_path / "baseline.toml"
    write_baseline(score([compared([9.0])]), path)
    known = read_baseline(path)
    assert known == {"g | tpot": 0.1}
    assert grown(score([compared([8.9])]), known) == []
    assert grown(score([compared([8.89])]), known) == []  # by a tenth, and the slack
    assert grown(score([compared([8.7])]), known) == ["g | tpot: 13.0%, was 10.0%"]
    assert grown([], known) == ["g | tpot: no longer on the board"]
    assert "no baseline" in grown(score([compared([9.0])]), {})[0]


def test_a_broken_baseline_is_one_line(tmp_path: Path) -> None:
    for text in ("a = ", '"a" = "b"'):
        path = tmp_path / "b.toml"
        path.write_text(text)
        with pytest.raises(InputError, match="baseline"):
            read_baseline(path)


def point(polled: int = 0, **more: object) -> Point:
    fixed = Fixed(64)
    return Point(
        group="g",
        label="p",
        deployment=deploy("Llama-3.1-8B", "H100-SXM", max_num_seqs=8),
        workload=closed_loop(4, 16, fixed, fixed),
        measured=one(ttft=1.0, tpot=1.0, e2e=1.0, throughput=1.0),
        polled=polled,
        **more,  # type: ignore[arg-type]
    )


def test_statistics(tmp_path: Path) -> None:
    means = predict(point(), tmp_path).values
    assert means["e2e"][0] == pytest.approx(means["ttft"][0] + 63 * means["tpot"][0])
    last = predict(point(statistics={"e2e": "last", "throughput": "all"}), tmp_path).values
    assert last["throughput"][0] * last["e2e"][0] == pytest.approx(16 * 128)
    each = predict(point(statistics={"tpot": "each"}), tmp_path).values["tpot"]
    assert each.mean() == pytest.approx(means["tpot"][0])
    gap = predict(point(statistics={"tpot": "gap"}), tmp_path).values["tpot"]
    assert gap[0] == pytest.approx(means["tpot"][0], rel=0.05)


def test_an_engine_that_looks_seldom_answers_later(tmp_path: Path) -> None:
    at_once_seen, polled = (predict(point(n), tmp_path).values for n in (0, 10))
    wait = polled["ttft"][0] - at_once_seen["ttft"][0]
    assert wait == pytest.approx(5 * at_once_seen["tpot"][0], rel=0.3)


def test_impossible_runs_have_no_values(tmp_path: Path) -> None:
    lone = Point("g", "p", deploy("Llama-3.1-8B", "H100-SXM", max_model_len=64),
                 at_once(1, 64, 64), one(ttft=1.0))  # fmt: skip
    found = predict(lone, tmp_path)
    assert found.rejected == 1
    assert not found.values


def test_lengths_between() -> None:
    spread = between(0.5, 10, 1.5)
    assert (spread.low, spread.high) == (5, 15)


def test_bad_input_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVETWIN_DATA", raising=False)
    with pytest.raises(InputError, match="SERVETWIN_DATA"):
        find_data(None)
    with pytest.raises(InputError, match="measured/"):
        find_data(tmp_path)
    with pytest.raises(InputError, match="did you mean argonne"):
        parse_sets("argone")
    assert parse_sets("argonne, Splitwise") == ["argonne", "splitwise"]


def test_folders_without_sets_say_so(tmp_path: Path) -> None:
    from servetwin.studies.fidelity.command import app

    for part in ("measured", "profiles"):
        (tmp_path / part).mkdir()
    found = CliRunner().invoke(app, ["--data", str(tmp_path)])
    assert isinstance(found.exception, InputError)
    assert "none of the measured sets" in str(found.exception)
