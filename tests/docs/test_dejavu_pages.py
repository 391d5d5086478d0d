"""The figures of the pages on DéjàVu's simulators are those of the program."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from servetwin.sim.pipeline import Load, Ring, Split, grouped_arrivals, run_pipeline
from servetwin.sim.pipeline.job import Pipeline
from servetwin.studies.dejavu import appendix_b, baseline, failures, figures, planning, requests
from servetwin.studies.dejavu.failing import Recovery, compare
from servetwin.studies.dejavu.model_info import CONTEXT_TOKENS, PROMPT_TOKENS
from servetwin.studies.dejavu.planning import MACHINES
from servetwin.studies.dejavu.simulating import Asked, SharedLink

DOCS = Path(__file__).resolve().parents[2] / "docs"
BACKGROUND = (DOCS / "background" / "dejavu.md").read_text("utf-8")
GUIDE = (DOCS / "guides" / "dejavu.md").read_text("utf-8")

TRACE = Path("lmsys_tokens.json")
RING = Ring(4, 100e3, 20e3)
PIPELINES = {"ring": RING, "split": Split(2, 2, 50e3, 20e3, 5e3)}


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no trace lies, so that ours stands in."""
    monkeypatch.chdir(tmp_path)


def both(pipeline: Pipeline, rps: float) -> tuple[Load, dict[str, np.ndarray]]:
    """Completions in µs of the same single requests in both semantics."""
    rounds = requests.find_trace(TRACE, 512).rounds
    load = Load(rounds, grouped_arrivals(rounds.size, rps, 1))
    names = ("original", "causal")
    return load, {name: run_pipeline(pipeline, load, name).completion_us for name in names}


def test_the_settings_of_the_table_of_differences() -> None:
    told = "for a ring of 4 and a Split of 2 + 2 (prompts 100 and 50 ms, tokens 20 ms, transfers 5"
    assert told in flat(BACKGROUND)
    rows = re.findall(r"^\| (ring|split), ([\d.]+)", BACKGROUND, re.M)
    assert rows == [(name, rps) for name in PIPELINES for rps in ("0.02", "0.05", "0.2")]


@pytest.mark.parametrize("rps", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("name", PIPELINES)
def test_the_table_of_differences(name: str, rps: float) -> None:
    load, ends = both(PIPELINES[name], rps)
    mean = {each: float((end - load.arrival_us).mean()) / 1e6 for each, end in ends.items()}
    most = float(np.abs(ends["original"] - ends["causal"]).max()) / 1e6
    label = f"{name}, {rps}" + (" (overload)" if rps == 0.2 else "")
    row = f"| {label} | {mean['original']:,.1f} s | {mean['causal']:,.1f} s | {most:,.0f} s |"
    assert row in BACKGROUND, row


def test_with_all_arrivals_at_0_a_ring_is_the_same_and_a_split_nearly() -> None:
    _, ends = both(RING, 0.0)
    assert np.array_equal(ends["original"], ends["causal"])
    split = Split(2, 2, 50e3, 20e3, 5e3)
    _, ends = both(split, 0.0)
    rounds = np.abs(ends["original"] - ends["causal"]) / (2 * split.token_us)
    assert 0 < rounds.max() < 3


def test_the_table_of_one_failure() -> None:
    page = flat(GUIDE)
    words = ("--num_machines 4", "--prompt_time 100", "--token_time 20", "--fail_at 50%")
    times = ("--detect_s 3", "--restart_s 20", "--weights_gb 32", "--kv_gb 8", "--load_gbs 2")
    assert all(word in page for word in (*words, *times))
    recovery = Recovery(3.0, 20.0, weights_gb=32.0, kv_gb=8.0, load_gbs=2.0)
    asked = Asked("dejavu-failures", RING, "causal", 512, 0.0, None)
    compared = compare(asked, TRACE, "50%", recovery)
    for found in list(compared.rows())[1:]:
        row = (
            f"| {found['ring']} | {found['stall_s']:.0f} s | {found['prompts_redone']}, "
            f"{found['rounds_redone']:,} | {found['added_mean_s']:.1f} s "
            f"| {found['added_max_s']:.1f} s |"
        )
        assert row in BACKGROUND, row
    calm = compared.runs["no failure"].completion_us
    before = np.count_nonzero(calm <= compared.at_s[0] * 1e6) / calm.size
    assert "of which half were complete before" in flat(BACKGROUND)
    assert before == pytest.approx(0.5, abs=0.02)


def default(command: object, name: str) -> object:
    """What a flag is where nobody gives it."""
    assert callable(command)
    return inspect.signature(command).parameters[name].default


def test_how_many_requests_are_taken() -> None:
    found = requests.find_trace(TRACE, 0)
    assert f"{len(found.workload)} requests with the lengths of ShareGPT" in flat(GUIDE)
    assert default(baseline.baseline, "requests") == 512
    assert default(failures.failures, "requests") == 512
    assert "more or fewer than the first 512, `0` all" in flat(GUIDE)
    assert f"takes the first {planning.REQUESTS} requests" in flat(GUIDE)
    least, most = requests.FEWEST_TOKENS, requests.MOST_TOKENS
    assert f"moved into {least} … {most:,}" in flat(BACKGROUND)


def test_the_pipeline_with_a_shared_link() -> None:
    """A prompt of 200 tokens takes 50 ms, and a link of 10 GB/s moves 2 MB for each token."""
    page = flat(GUIDE)
    assert "--prompt_time 50 --prompt_tokens 200 --token_time 20" in page.replace("\\ ", "")
    assert "--link_gbs 10 --kv_bytes_per_token 2000000 --prompt_slots 8" in page
    assert "A prompt of 200 tokens then takes 50 ms a stage" in page
    assert "share a link of 10 GB/s" in page
    assert "no prompt begins while eight have no place" in page
    link = SharedLink.of(10, 2e6)
    assert link is not None
    assert link.microseconds(np.array([200])).tolist() == [pytest.approx(40_000)]


def test_what_the_planner_takes() -> None:
    assert (1, *range(2, 17, 2)) == MACHINES
    assert "For one machine and for every even number up to 16 this finds" in flat(GUIDE)
    assert "on four V100-16GB for 64 GB and A100-80GB otherwise" in flat(GUIDE)
    for memory, gpu in ((64.0, "4 x V100-SXM2-16GB"), (320.0, "4 x A100-80GB")):
        name = "OPT-30B" if memory == 64 else "OPT-66B"
        question = appendix_b.Question(name, planning.Machine(memory), TRACE, requests=8)
        assert f"our cost model, {gpu}" in appendix_b.make_plan(question).times.source
    lengths = f"a sequence is {planning.TOKEN_SEQUENCE:,} tokens, or {planning.PROMPT_SEQUENCE:,}"
    assert lengths in flat(BACKGROUND)
    told = f"prompts of {PROMPT_TOKENS:,} tokens, and tokens at a context of {CONTEXT_TOKENS:,}"
    assert told in flat(BACKGROUND)
    figure = figures.FIGURES[19]
    assert (figure.model, figure.gpu, figure.gpus) == ("BLOOM-176B", "A100-80GB", 4)
    assert "![BLOOM-176B on machines of four A100]" in GUIDE
