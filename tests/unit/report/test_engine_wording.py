"""Memory and costs of every kind of engine in a run."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.report.engine_wording import cost_line, memory_line

SMALL = {"weights": 1e9, "runtime": 2e9, "kv_cache": 3e9, "kv_per_token": 5.0}
LARGE = {**SMALL, "kv_cache": 30e9}
HELD = "1.00 GB weights, 2.00 GB runtime"


def known(memory: dict[str, float], source: str, prefix: str = "") -> dict[str, Any]:
    cost = {"level": "derived", "source": source}
    return {f"{prefix}memory_per_gpu": memory, f"{prefix}cost_model": cost}


def summary(**provenance: Any) -> dict[str, Any]:
    return {"config": {"gpu": "A100"}, "provenance": {"servetwin": "1", **provenance}}


def test_engines_that_are_all_alike() -> None:
    for others in ({}, known(SMALL, "roofline", "decode_"), {"also": [known(SMALL, "roofline")]}):
        run = summary(**known(SMALL, "roofline"), **others)
        assert memory_line(run) == f"{HELD}, 3.00 GB KV cache on each GPU"
        assert cost_line(run) == "derived: roofline"


@pytest.mark.parametrize(
    ("others", "names"),
    [
        (known(LARGE, "profile", "decode_"), ("prefill GPU", "decode GPU")),
        ({"also": [{"gpu": "H100", **known(LARGE, "profile")}]}, ("A100", "H100")),
    ],
)
def test_engines_that_differ(others: dict[str, Any], names: tuple[str, str]) -> None:
    run = summary(**known(SMALL, "roofline"), **others)
    assert memory_line(run) == (
        f"{HELD}, 3.00 GB KV cache on each {names[0]}; {HELD}, 30.0 GB KV cache on each {names[1]}"
    )
    assert cost_line(run) == "derived: roofline; derived: profile"


def test_what_is_not_known_is_left_out() -> None:
    bare: list[dict[str, Any]] = [{}, {"cost_model": None, "memory_per_gpu": {"weights": 1.0}}]
    assert [(memory_line(summary(**each)), cost_line(summary(**each))) for each in bare] == [
        ("", ""),
        ("", ""),
    ]
