"""Refit the presets to their traces, and measure how far each is from its trace.

    python tools/fit_presets.py            fit, and write figures and error table
    python tools/fit_presets.py --check    fit and measure, write nothing, exit 1 on a difference

Traces are read from `$SERVETWIN_DATA/traces` (default: ../shared/data beside the repository).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from servetwin.types import Workload
from servetwin.workload.arrivals import GapTable, OpenLoop
from servetwin.workload.fit import (
    WINDOWS,
    arrival_seconds,
    column_error,
    dispersion,
    fit_arrivals,
    fit_lengths,
    gap_cv,
    rank_correlation,
)
from servetwin.workload.generate import generate
from servetwin.workload.presets import Preset, preset_spec
from servetwin.workload.rates import Drift
from servetwin.workload.reading import read

REPOSITORY = Path(__file__).resolve().parent.parent
FIGURES = REPOSITORY / "src/servetwin/workload/presets.toml"
PAGE = REPOSITORY / "docs/reference/presets.md"
SAMPLE = 1_000_000
"""Requests generated to measure a fit: enough that the noise is below the last digit shown."""


@dataclass(frozen=True)
class Source:
    """Where the trace of one preset lies, and what must be said about it."""

    name: str
    title: str
    file: str
    origin: str
    licence: str
    credit: str
    tick: float = 0.0
    """Seconds between the steps of the trace's clock, where they are coarse."""


AZURE = ("https://github.com/Azure/AzurePublicDataset", "CC-BY-4.0", "Patel et al., ISCA 2024")
MOONCAKE = ("https://github.com/kvcache-ai/Mooncake", "Apache-2.0", "Qin et al., FAST 2025")
SOURCES = (
    Source(
        "azure-conv",
        "Azure LLM inference trace 2023, conversation",
        "azure_llm_2023/AzureLLMInferenceTrace_conv.csv",
        *AZURE,
    ),
    Source(
        "azure-code",
        "Azure LLM inference trace 2023, code",
        "azure_llm_2023/AzureLLMInferenceTrace_code.csv",
        *AZURE,
    ),
    Source(
        "mooncake-conversation",
        "Mooncake trace, conversation",
        "mooncake/conversation_trace.jsonl",
        *MOONCAKE,
        tick=3.0,
    ),
    Source(
        "mooncake-synthetic",
        "Mooncake trace, synthetic mix",
        "mooncake/synthetic_trace.jsonl",
        *MOONCAKE,
    ),
    Source(
        "sharegpt",
        "ShareGPT conversations up to 8k tokens, Llama 2 tokenizer",
        "sharegpt_lengths/sharegpt_8k_filtered_stats_llama2_tokenizer.csv",
        "https://github.com/microsoft/sarathi-serve",
        "Apache-2.0",
        "Agrawal et al., OSDI 2024",
    ),
    Source(
        "arxiv",
        "arXiv summarization up to 4k tokens, Llama 2 tokenizer",
        "arxiv_summarization/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
        "https://github.com/microsoft/vidur",
        "MIT",
        "Agrawal et al., MLSys 2024",
    ),
)


def fit(source: Source, trace: Workload) -> Preset:
    arrivals = fit_arrivals(arrival_seconds(trace), source.tick) if trace.span_ps else None
    return Preset(
        **{key: value for key, value in asdict(source).items() if key != "tick"},
        requests=len(trace),
        rank_correlation=round(rank_correlation(trace.input_tokens, trace.output_tokens), 4),
        input=fit_lengths(trace.input_tokens, f"{source.name}.input"),
        output=fit_lengths(trace.output_tokens, f"{source.name}.output"),
        arrivals=None if arrivals is None else replace(arrivals, rate=round(arrivals.rate, 4)),
    )


def as_toml(presets: list[Preset]) -> str:
    parts = ["# Written by tools/fit_presets.py: quantiles and arrival processes of public traces."]
    for one in presets:
        parts.append(f"\n[{one.name}]")
        for key in ("title", "file", "origin", "licence", "credit"):
            parts.append(f"{key} = {json.dumps(getattr(one, key))}")
        parts.append(f"requests = {one.requests}\nrank_correlation = {one.rank_correlation}")
        for column in ("input", "output"):
            table = getattr(one, column)
            parts.append(f"\n[{one.name}.{column}]")
            parts.append(_array("tokens", table.tokens))
            parts.append(_array("cumulative", table.cumulative))
        if one.arrivals is not None:
            parts += [f"\n[{one.name}.arrivals]", *_arrivals_toml(one.arrivals)]
    return "\n".join(parts) + "\n"


def _arrivals_toml(arrivals: OpenLoop) -> list[str]:
    lines = [f"rate = {arrivals.rate}"]
    if isinstance(arrivals.gaps, GapTable):
        lines.append(_array("gaps", arrivals.gaps.gaps))
        lines.append(_array("cumulative", arrivals.gaps.cumulative))
    else:
        lines.append(f"cv = {arrivals.gaps.cv}")
    if isinstance(arrivals.shape, Drift):
        lines.append(f"drift_sd = {arrivals.shape.sd}\ndrift_hold = {arrivals.shape.hold}")
    if arrivals.tick:
        lines.append(f"tick = {arrivals.tick}")
    return lines


def _array(key: str, values: tuple[float, ...]) -> str:
    rows = [", ".join(map(str, values[i : i + 10])) for i in range(0, len(values), 10)]
    return f"{key} = [\n" + "".join(f"    {row},\n" for row in rows) + "]"


def error_tables(fitted: list[tuple[Preset, Workload]]) -> str:
    """Markdown: relative errors in percent, KS distance absolute."""
    windows = " / ".join(f"{window:g}" for window in WINDOWS)
    lengths = [
        "| preset | column | KS | mean | p50 | p90 | p99 | trace mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    whole = [
        f"| preset | total tokens | rank correlation | gap CV | dispersion {windows} s |",
        "|---|---|---|---|---|",
    ]
    for one, trace in fitted:
        made = generate(preset_spec(one, SAMPLE, None if one.arrivals else 1.0))
        for column in ("input", "output"):
            true, found = (getattr(w, f"{column}_tokens") for w in (trace, made))
            error = column_error(true, found)
            relative = (error.mean, error.p50, error.p90, error.p99)
            cells = [one.name, column, f"{error.ks:.4f}", *map(_percent, relative)]
            lengths.append(_row([*cells, f"{true.mean():.1f}"]))
        whole.append(_row([one.name, *_whole_cells(trace, made)]))
    return "\n".join([*lengths, "", *whole])


def _whole_cells(trace: Workload, made: Workload) -> list[str]:
    total, ranks = (
        [figure(w.input_tokens, w.output_tokens) for w in (trace, made)]
        for figure in (lambda i, o: float(i.mean() + o.mean()), rank_correlation)
    )
    cells = [_percent(total[1] / total[0] - 1.0), f"{ranks[0]:.3f}, {ranks[1]:.3f}"]
    if not trace.span_ps:
        return [*cells, "no arrivals", "no arrivals"]
    times = [arrival_seconds(w) for w in (trace, made)]
    counts = [[f"{dispersion(t, window):.1f}" for t in times] for window in WINDOWS]
    return [
        *cells,
        ", ".join(f"{gap_cv(t):.2f}" for t in times),
        " / ".join(map(", ".join, counts)),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def with_tables(page: str, tables: str) -> str:
    """Replace what stands between the two markers of the page."""
    start, end = "<!-- errors: written by tools/fit_presets.py -->", "<!-- end of errors -->"
    block = f"{start}\n{tables}\n{end}"
    return re.sub(f"{re.escape(start)}.*{re.escape(end)}", lambda _: block, page, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a change")
    check = parser.parse_args().check
    data = Path(os.environ.get("SERVETWIN_DATA", REPOSITORY.parent / "shared" / "data"))
    traces = [read(data / "traces" / source.file) for source in SOURCES]
    presets = [fit(source, trace) for source, trace in zip(SOURCES, traces, strict=True)]
    tables = error_tables(list(zip(presets, traces, strict=True)))
    print(tables)
    new = {FIGURES: as_toml(presets), PAGE: with_tables(PAGE.read_text("utf-8"), tables)}
    changed = [p for p, text in new.items() if not p.exists() or p.read_text("utf-8") != text]
    for path in changed:
        print(f"{'differs' if check else 'wrote'}: {path.relative_to(REPOSITORY)}", file=sys.stderr)
        if not check:
            path.write_text(new[path], encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
