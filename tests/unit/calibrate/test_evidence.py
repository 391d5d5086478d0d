"""The nearest measurement, and in what it differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from servetwin.calibrate.evidence import Subject, left_out, nearest
from servetwin.calibrate.residuals import read_table
from servetwin.catalog import find_accelerator, find_model

SUBJECT = Subject(
    "H100-SXM", "meta-llama/Llama-3.1-8B", "dense", 8.0e9, weights="bf16", level="derived"
)


def entry(**changes: Any) -> dict[str, Any]:
    same = {
        "source": "somebody",
        "gpu": "H100-SXM",
        "model": "meta-llama/Llama-3.1-8B",
        "kind": "dense",
        "parameters": 8.0e9,
        "weights": "bf16",
        "engine": "vLLM",
        "level": "derived",
        "points": 3,
        "error": {"ttft": 0.1},
    }
    return same | changes


def test_the_very_deployment() -> None:
    found = nearest(SUBJECT, [entry(gpu="A100-80GB"), entry(), entry(weights="fp8")])
    assert found is not None
    assert found["differs"] == []
    assert found["median_error"] == {"ttft": 0.1}


def test_differences_are_said_in_words() -> None:
    other = entry(
        gpu="GH200", model="X", parameters=70e9, weights="fp8", engine="SGLang", level="profiled"
    )
    found = nearest(SUBJECT, [other])
    assert found is not None
    assert found["differs"] == [
        "GH200 instead of H100-SXM, the same chip",
        "another dense model, 8.8 times as large",
        "weights fp8 instead of bf16",
        "engine SGLang instead of vLLM",
        "costs profiled instead of derived",
    ]


def test_gpu_and_kind_of_model_count_most() -> None:
    another_vendor, mixture = entry(gpu="MI300X"), entry(model="Y", kind="mixture of experts")
    near = entry(model="Z", parameters=14e9, weights="fp8", points=1)
    found = nearest(SUBJECT, [another_vendor, mixture, near])
    assert found is not None
    assert found["what"].startswith("Z ")
    unknown = nearest(replace(SUBJECT, gpu="A10"), [another_vendor, mixture])
    assert unknown is not None
    assert unknown["differs"][-1] == "a mixture of experts model instead of dense, of similar size"


def test_of_equals_the_one_with_most_points_is_shown() -> None:
    found = nearest(SUBJECT, [entry(points=2), entry(points=9, source="more")])
    assert found is not None
    assert found["source"] == "more"


def test_without_measurements_there_is_none() -> None:
    assert nearest(SUBJECT, []) is None


def test_packaged_measurements_are_of_known_things() -> None:
    for measured in read_table()["evidence"]:
        find_accelerator(measured["gpu"])
        find_model(measured["model"])


def test_runs_of_an_unknown_engine_are_named_where_model_and_gpu_are_theirs() -> None:
    own = replace(SUBJECT, gpu="A10", model="meta-llama/Meta-Llama-3-8B")
    (note,) = left_out(own)
    assert "Kavier's runs of this model on the A10" in note
    assert left_out(replace(own, gpu="L4")) == left_out(replace(own, model="X")) == ()
