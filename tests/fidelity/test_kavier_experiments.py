"""The experiments in full against what Kavier published, and the targets against their source."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

import pytest

from servetwin.studies.kavier_experiments import (
    accuracy_study,
    export_study,
    kv_cache_study,
    prefix_study,
)
from servetwin.studies.kavier_experiments.outcome import Outcome, Row
from servetwin.studies.kavier_experiments.published import published

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "background" / "kavier.md"
GRID = prefix_study.Grid.parse("1024,2048,4096", "2,4,8,16,32,64")
NO_RATES = (None, None, 1.0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{(key or "").strip(): value for key, value in row.items()}
                for row in csv.DictReader(file)]  # fmt: skip


def all_met(outcome: Outcome, targets: int) -> None:
    assert len(outcome.checks) == targets
    assert [check.row() for check in outcome.checks if not check.passed] == []


def documented(name: str) -> list[list[str]]:
    """Cells of a table of the document, without its head."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"<!-- {name} -->")[1]
    lines = text.split("<!-- end -->")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def cells(row: Row, keys: tuple[str, ...], digits: int) -> list[str]:
    """Values as the document prints them; nothing for None."""
    return ["" if row[key] is None else f"{row[key]:,.{digits}f}" for key in keys]


def check_hours(outcome: Outcome) -> None:
    rows = {(row["llm"], row["kv"], row["form"]): row for row in outcome.tables["hours"].rows}
    expected = []
    for llm in published("kv_cache")["models"]:
        for kv in ("on", "off"):
            theirs, ours = rows[llm, kv, "kavier"], rows[llm, kv, "servetwin"]
            expected.append([llm, kv])
            for key in ("prefill_h", "decode_h"):
                expected[-1] += cells(theirs, (f"published_{key}", key), 2) + cells(ours, (key,), 2)
    assert documented("hours") == expected


def check_energy(outcome: Outcome) -> None:
    keys = ("kwh", "kwh_low", "kwh_high", "kwh_meta_mean", "kwh_meta_median")
    assert documented("energy") == [
        [row["llm"], row["kv"], row["form"], *cells(row, keys, 1)]
        for row in outcome.tables["energy"].rows
    ]


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_accuracy(phase: str) -> None:
    """Nine printed predictions, their error, and ours below it by both readings."""
    all_met(accuracy_study.run(phase, None, quick=False), 12)


def test_kv_cache() -> None:
    outcome = kv_cache_study.run(None, False, *NO_RATES)
    all_met(outcome, 16)
    hours = {
        (row["form"], row["llm"], row["kv"]): row["decode_h"]
        for row in outcome.tables["hours"].rows
    }
    for llm in published("kv_cache")["models"]:
        for form in ("kavier", "servetwin"):
            assert hours[form, llm, "off"] > 50 * hours[form, llm, "on"]
    check_hours(outcome)
    check_energy(outcome)


def test_prefix_sizes() -> None:
    outcome = prefix_study.run(None, False, GRID, NO_RATES)
    all_met(outcome, 21)
    keys = ("published_hit_percent", "hit_percent", "published_h", "kavier_h", "servetwin_h")
    assert documented("caches") == [
        [row["prefix"], row["prompts"], *cells(row, keys, 2)]
        for row in outcome.tables["performance"].rows
    ]


@pytest.mark.slow
def test_export_rate() -> None:
    """1.8 billion fragments among them."""
    all_met(export_study.run(None, False, published("export_rate")["seconds"], "kavier"), 4)


def test_coarse_export_rates() -> None:
    all_met(export_study.run(None, False, [1.0, 0.1], "kavier"), 2)


def test_mooncake_runs_too(data_dir: Path) -> None:
    """Its requests name blocks of 512 tokens and no sessions; nothing published applies."""
    trace = data_dir / "traces" / "mooncake" / "conversation_trace.jsonl"
    outcome = prefix_study.run(trace, False, prefix_study.Grid((1024,), (16,)), NO_RATES)
    assert outcome.passed is None
    none, cached = outcome.tables["performance"].rows
    assert none["hit_percent"] == 0 < cached["hit_percent"] < 100
    assert cached["kavier_h"] < none["kavier_h"]
    assert cached["kavier_h"] / none["kavier_h"] < cached["servetwin_h"] / none["servetwin_h"] < 1


def test_targets_of_experiment_1_are_those_of_the_source(data_dir: Path) -> None:
    folder = data_dir / "measured" / "kavier_a10"
    table = published("accuracy")
    rows = rows_of(folder / "prefill_decode_accuracy.csv")
    assert [int(row["prompt_size"]) for row in rows] == table["lengths"]
    for phase in ("prefill", "decode"):
        for name, column in (("measured_s", "reality"), ("predicted_s", "kavier")):
            assert [float(row[f"{column}_{phase}"]) for row in rows] == table[phase][name]
    counts = {
        int(row["session_id"]): int(row["num_output_tokens"])
        for row in rows_of(folder / "input_decode_accuracy.csv")
    }
    assert [counts[length] for length in table["lengths"]] == table["decode"]["counts"]
    runs = rows_of(folder / "performance_numbers.csv")
    curve = published("export_rate")
    for rate, wall in zip(curve["seconds"], curve["wall_s"], strict=True):
        times = [float(r["Time (s)"]) for r in runs if float(r["Export rate (s)"]) == rate]
        assert len(times) == 10
        assert mean(times) == pytest.approx(wall, abs=0.0005)


def test_targets_of_experiments_2_and_3_are_those_of_the_source(data_dir: Path) -> None:
    folder = data_dir / "measured" / "kavier_a10"
    table = published("kv_cache")
    for row in rows_of(folder / "experiment2_data.csv"):
        names = [model.casefold() for model in table["models"]]
        at = names.index(row["LLM"].casefold())
        assert float(row["prefill_h"]) == table["prefill_h"][at]
        assert float(row["decode_h"]) == table[f"decode_{row['KV']}_h"][at]
    cached = published("prefix")["table"]
    rows = []
    for row in rows_of(folder / "experiment3_data.csv"):
        hours = float(row["prefill_time [h]"])
        if row["prefix_cache_min_tokens"].startswith("off"):
            assert hours == published("prefix")["baseline_prefill_h"]
            continue
        size, prompts = int(row["prefix_cache_min_tokens"]), int(row["max_cached_prompts"])
        rows.append((size, prompts, float(row["hit_ratio [%]"]), hours))
    keys = ("min_tokens", "max_prompts", "hit_percent", "prefill_h")
    assert rows == list(zip(*(cached[key] for key in keys), strict=True))
