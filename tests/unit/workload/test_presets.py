"""The presets against their traces, and the published errors against the presets."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from servetwin.errors import InputError
from servetwin.types import Workload
from servetwin.units import PS_PER_S
from servetwin.workload.arrivals import OpenLoop
from servetwin.workload.fit import (
    arrival_seconds,
    column_error,
    dispersion,
    gap_cv,
    rank_correlation,
)
from servetwin.workload.generate import generate
from servetwin.workload.presets import PRESETS, preset, preset_info
from servetwin.workload.reading import read

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs/reference/presets.md"
SAMPLE = 1_000_000


@cache
def trace_of(data: Path, name: str) -> Workload:
    return read(data / "traces" / preset_info(name).file)


@cache
def made_from(name: str) -> Workload:
    return generate(preset(name, SAMPLE, None if preset_info(name).arrivals else 1.0))


def rows(width: int) -> dict[tuple[str, str], list[str]]:
    """Rows of the error tables that have `width` cells, by their first two cells."""
    block = PAGE.read_text(encoding="utf-8").partition("<!-- errors")[2]
    cells = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    return {(row[0], row[1]): row[2:] for row in cells if len(row) == width and row[0] in PRESETS}


def test_the_names_are_those_of_the_file() -> None:
    file = REPOSITORY / "src/servetwin/workload/presets.toml"
    assert tuple(tomllib.loads(file.read_text(encoding="utf-8"))) == PRESETS
    assert [preset_info(name).name for name in PRESETS] == list(PRESETS)


def test_names_are_forgiving_and_mistakes_get_a_hint() -> None:
    assert preset_info("Azure_Conv").name == "azure-conv"
    with pytest.raises(InputError, match=r"did you mean azure-code"):
        preset("azure-cod")
    with pytest.raises(InputError, match="known are azure-conv"):
        preset("zzz")


@pytest.mark.parametrize("name", ["sharegpt", "arxiv"])
def test_lengths_alone_need_a_rate(name: str) -> None:
    with pytest.raises(InputError, match="has lengths only: give a rate"):
        preset(name)
    assert preset(name, rps=3.0).arrivals == OpenLoop(3.0)


def test_requests_and_rate_default_to_those_of_the_trace() -> None:
    spec = preset("azure-conv")
    assert spec.requests == 19_366
    assert isinstance(spec.arrivals, OpenLoop)
    assert spec.arrivals.rate == pytest.approx(5.53, abs=0.001)
    assert (preset("azure-conv", 10).requests, preset("azure-conv", seed=9).seed) == (10, 9)


@pytest.mark.parametrize("name", PRESETS)
def test_another_rate_stretches_time_and_nothing_else(name: str) -> None:
    fast, slow = (generate(preset(name, 20_000, rps, seed=1)) for rps in (40.0, 10.0))
    assert np.array_equal(fast.input_tokens, slow.input_tokens)
    assert np.array_equal(fast.output_tokens, slow.output_tokens)
    assert np.abs(slow.arrival - 4 * fast.arrival).max() <= 1e-9 * slow.arrival[-1]
    # 20,000 gaps with a CV of 13 have a mean that is good to a tenth.
    assert 20_000 / (slow.arrival[-1] / PS_PER_S) == pytest.approx(10.0, rel=0.2)


@pytest.mark.parametrize("name", PRESETS)
def test_lengths_are_those_of_the_trace(data_dir: Path, name: str) -> None:
    trace, made = trace_of(data_dir, name), made_from(name)
    assert preset_info(name).requests == len(trace)
    for column in ("input_tokens", "output_tokens"):
        error = column_error(getattr(trace, column), getattr(made, column))
        assert error.ks <= 0.005
        assert abs(error.mean) <= 0.005
        assert max(abs(error.p50), abs(error.p90), abs(error.p99)) <= 0.02
        # Percentiles would hide a wrong end of the tail.
        assert getattr(made, column).max() == getattr(trace, column).max()
        assert getattr(made, column).min() == getattr(trace, column).min()
    ranks = [rank_correlation(w.input_tokens, w.output_tokens) for w in (trace, made)]
    assert ranks[0] == pytest.approx(ranks[1], abs=0.005)


@pytest.mark.parametrize("name", [n for n in PRESETS if preset_info(n).arrivals])
def test_arrivals_are_like_those_of_the_trace(data_dir: Path, name: str) -> None:
    true, found = (arrival_seconds(w) for w in (trace_of(data_dir, name), made_from(name)))
    assert gap_cv(found) == pytest.approx(gap_cv(true), rel=0.05)
    assert SAMPLE / found[-1] == pytest.approx(len(true) / true[-1], rel=0.05)
    for window in (30.0, 60.0, 120.0):
        assert 0.6 < dispersion(found, window) / dispersion(true, window) < 1.7


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_errors_are_right(data_dir: Path, name: str) -> None:
    trace, made = trace_of(data_dir, name), made_from(name)
    for column in ("input", "output"):
        true, found = (getattr(w, f"{column}_tokens") for w in (trace, made))
        error = column_error(true, found)
        cells = rows(8)[name, column]
        numbers = [float(cell.removesuffix(" %")) for cell in cells]
        percent = [100 * e for e in (error.mean, error.p50, error.p90, error.p99)]
        assert numbers[0] == pytest.approx(error.ks, abs=1e-4)
        assert numbers[1:5] == pytest.approx(percent, abs=0.011)
        assert numbers[5] == pytest.approx(true.mean(), abs=0.051)
    total = [float(w.input_tokens.mean() + w.output_tokens.mean()) for w in (trace, made)]
    (row,) = [(key[1], rest) for key, rest in rows(5).items() if key[0] == name]
    assert float(row[0].removesuffix(" %")) == pytest.approx(
        100 * (total[1] / total[0] - 1), abs=0.011
    )
    if preset_info(name).arrivals is not None:
        published = [float(number) for number in row[1][1].split(", ")]
        cvs = [gap_cv(arrival_seconds(w)) for w in (trace, made)]
        assert published == pytest.approx(cvs, abs=0.011)


def test_refitting_gives_the_packaged_figures(data_dir: Path) -> None:
    tool = _tool()
    traces = [read(data_dir / "traces" / source.file) for source in tool.SOURCES]
    pairs = zip(tool.SOURCES, traces, strict=True)
    new = tomllib.loads(tool.as_toml([tool.fit(source, trace) for source, trace in pairs]))
    old = tomllib.loads(tool.FIGURES.read_text(encoding="utf-8"))
    assert new == old


def test_the_page_names_every_preset_with_its_figures() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in PRESETS:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", page, flags=re.MULTILINE)
        info = preset_info(name)
        assert f"{info.requests:,}" in row
        assert info.licence in row
        assert info.credit in row
        if info.arrivals is not None:
            assert f"{info.arrivals.rate:.2f} /s" in row


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fit_presets", REPOSITORY / "tools/fit_presets.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
