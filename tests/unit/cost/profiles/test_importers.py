"""Importers: what a malformed or unfitting folder of timings is told, in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import resolve_settings
from servetwin.cost.curves import read_serving
from servetwin.cost.profiles import Tuning, cost_from_profiles
from servetwin.errors import InputError
from servetwin.types import CostModel, Deployment, Parallelism

DENSE = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "act_fn", "rotary_emb", "layernorm")
CHUNKS, DONE, DECODES, CONTEXTS = (16, 32), (0, 16, 32), (1, 2), (16, 32)


KERNELS = Tuning(operation_us=0.0)
"""Nothing waits for the host that launches them."""


def deployment(
    model: str = "Llama-3.1-8B", gpu: str = "RTX-4090", tp: int = 1, eager: bool = False
) -> Deployment:
    found, accelerator = find_model(model), find_accelerator(gpu)
    largest = 0 if eager else None
    settings = resolve_settings(
        found, accelerator, max_model_len=4096, max_cudagraph_capture_size=largest
    )
    link = find_link(accelerator.link)
    return Deployment(found, accelerator, link, Parallelism(tp=tp), settings)


def attention_rows() -> list[str]:
    """1 us for each computed token, 1 us for each 16 tokens of context, 5 us for both at once."""
    rows = ["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"]
    for context in CONTEXTS:
        rows += [f"0,0,{n},{context},{n * context / 16}" for n in DECODES]
    for chunk in CHUNKS:
        for done in DONE:
            rows.append(f"{chunk},{done},0,0,{chunk}")
            rows += [
                f"{chunk},{done},{n},{context},{5 + chunk + n * context / 16}"
                for n in DECODES
                for context in CONTEXTS
            ]
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A vLLM layer profile in which every dense kernel takes 2 us and 0.01 us a token."""
    profile = tmp_path / "profile"
    (profile / "tp1").mkdir(parents=True)
    (profile / "meta.yaml").write_text(
        "hardware: RTX4090\nmodel: meta-llama/Llama-3.1-8B\nvariant: bf16\nvllm_version: 0.19.0\n"
    )
    lines = [f"{name},{n},{2 + 0.01 * n}" for name in DENSE for n in (1, 64, 2048)]
    write(profile, "dense.csv", ["layer,tokens,time_us", *lines])
    lines = [f"{name},{n},100" for name in ("lm_head", "sampler") for n in (1, 256)]
    write(profile, "per_sequence.csv", ["layer,sequences,time_us", *lines])
    write(profile, "attention.csv", attention_rows())
    return profile


def write(profile: Path, name: str, lines: list[str]) -> None:
    (profile / "tp1" / name).write_text("\n".join(lines) + "\n")


def cost(folder: Path, tuning: Tuning | None = None, wanted: Deployment | None = None) -> CostModel:
    return cost_from_profiles(wanted or deployment(), folder, 1000, tuning=tuning or KERNELS)


def test_one_layer_stands_for_all(folder: Path) -> None:
    """32 layers of seven kernels, the norm twice; head and sampler once; nothing invented."""
    model = cost(folder)
    assert model.level == "profiled"
    assert model.source.startswith("layer timings of meta-llama/Llama-3.1-8B (bf16, tp 1)")
    assert model.notes == ()
    iteration = model.iteration
    assert iteration.base == 0
    assert iteration.linear[64] == pytest.approx(32 * 8 * 2.64e6, rel=1e-6)
    assert iteration.linear[2048] == pytest.approx(32 * 8 * 22.48e6, rel=1e-6)
    assert iteration.head[1] == iteration.head[256] == 200_000_000
    assert iteration.decode_ctx == iteration.prefill_attn == 0


def test_small_batches_are_padded_to_a_captured_size(folder: Path) -> None:
    graphs, eager = cost(folder).iteration, cost(folder, wanted=deployment(eager=True)).iteration
    assert graphs.linear[57] == graphs.linear[64] == eager.linear[64] > eager.linear[57]
    assert graphs.linear[513] == eager.linear[513]


def test_without_a_graph_kernels_wait_for_their_launch(folder: Path) -> None:
    launched = cost(folder, Tuning(operation_us=100.0)).iteration
    assert launched.linear[512] == cost(folder).iteration.linear[512]
    assert launched.linear[513] == 32 * (6 + 4) * 100 * 10**6
    fitted = cost(folder, Tuning()).iteration.linear[513] / (32 * 10 * 10**6)
    assert fitted == pytest.approx(read_serving()["operation_us"]["vLLM"])
    # A device that is slower has a host as fast; a constant of the iteration is part of it.
    slow = cost(folder, Tuning(time_factor=1.5, step_seconds=1e-3, operation_us=100.0)).iteration
    assert slow.base + slow.linear[513] == launched.linear[513]


def test_attention_is_what_was_timed(folder: Path) -> None:
    tables = cost(folder).iteration.attention
    assert tables is not None
    us = 32 * 10**6  # of all layers, in picoseconds
    assert tables.decode(2, 2 * 24) == pytest.approx(3.0 * us, rel=1e-6)
    assert tables.mixed(32, 32 * (2 * 16 + 32), 0, 0) == pytest.approx(32 * us, rel=1e-6)
    assert tables.mixed(32, 32 * (2 * 16 + 32), 2, 2 * 24) == pytest.approx(40 * us, rel=1e-3)
    # Beyond the last timed context the last segment goes on.
    assert tables.decode(1, 320) == pytest.approx(20 * us, rel=1e-6)


def test_the_constants_of_a_machine(folder: Path) -> None:
    plain = cost(folder).iteration
    tuned = cost(folder, Tuning(time_factor=1.5, step_seconds=1e-3, operation_us=0.0)).iteration
    assert tuned.base == 10**9
    np.testing.assert_allclose(tuned.linear, 1.5 * plain.linear, rtol=1e-9, atol=1)
    assert plain.attention is not None
    assert tuned.attention is not None
    np.testing.assert_allclose(tuned.attention.joint, 1.5 * plain.attention.joint, atol=1)


def test_cells_that_are_no_times(folder: Path) -> None:
    for cell, problem in {
        "fast": "'fast' is not a number",
        "-3": "-3 is negative",
        "": "empty",
        "nan": "is not a number",
    }.items():
        write(folder, "dense.csv", ["layer,tokens,time_us", "qkv_proj,1,2", f"qkv_proj,2,{cell}"])
        with pytest.raises(InputError, match=rf"dense\.csv:3: column 'time_us': .*{problem}"):
            cost(folder)


def test_a_missing_column_row_or_kernel(folder: Path) -> None:
    rows = attention_rows()
    write(folder, "attention.csv", [row for row in rows if not row.startswith("32,16,2,")])
    with pytest.raises(InputError, match=r"no row with prefill_chunk = 32, kv_prefill = 16, n_dec"):
        cost(folder)
    write(folder, "attention.csv", [rows[0].replace("n_decode", "decodes"), *rows[1:]])
    with pytest.raises(InputError, match=r"attention\.csv:1: no column 'n_decode'"):
        cost(folder)
    write(folder, "dense.csv", ["layer,tokens,time_us", "qkv_proj,1,2", "qkv_proj,2,3"])
    with pytest.raises(InputError, match=r"column 'layer': no rows of 'o_proj'"):
        cost(folder)
    write(folder, "dense.csv", ["layer,tokens,time_us"])
    with pytest.raises(InputError, match="no rows"):
        cost(folder)


def test_a_second_incomplete_grid_is_left_out(folder: Path) -> None:
    """Some profiles hold sizes half-way between the doubling ones, but not all of them."""
    plain = cost(folder).iteration.attention
    write(folder, "attention.csv", [*attention_rows(), "24,16,0,0,9999", "24,0,1,24,9999"])
    again = cost(folder).iteration.attention
    assert plain is not None
    assert again is not None
    np.testing.assert_array_equal(plain.joint, again.joint)


def test_nothing_that_fits(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no timings of Qwen/Qwen3-32B on RTX-4090; there are: "):
        cost(folder, wanted=deployment("Qwen3-32B"))
    with pytest.raises(InputError, match=r"on A100-80GB; there are: meta-llama/Llama-3.1-8B on"):
        cost(folder, wanted=deployment(gpu="A100-80GB"))
    (folder / "other").mkdir()
    (folder / "other" / "a100_x_mlp.csv").touch()
    with pytest.raises(InputError, match=r"timings in other formats are in .*other: name one"):
        cost(folder, wanted=deployment(gpu="A100-80GB"))
    with pytest.raises(InputError, match=r"no timings with tp 2; there are: 1"):
        cost(folder, wanted=deployment(tp=2))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no kernel timings found"):
        cost(empty)
    with pytest.raises(InputError, match="a folder of kernel timings is needed"):
        cost(tmp_path / "nowhere")


def test_skew_counts_only_where_it_was_fitted(folder: Path) -> None:
    """A meta.yaml without an enabled fit has none, whatever lies beside it."""
    from servetwin.cost.profiles import contexts_of

    tuning = Tuning(contexts=contexts_of(np.array([10, 1000]), np.array([50, 50])))
    plain = cost(folder, tuning).iteration.attention
    meta = folder / "meta.yaml"
    enabled = "skew_fit:\n  enabled: true\n  per_tp:\n    1: {alpha_default: 0.1}\n"
    meta.write_text(meta.read_text() + enabled)
    skewed = cost(folder, tuning).iteration.attention
    assert plain is not None
    assert skewed is not None
    assert skewed.decode(1, 500) == plain.decode(1, 500)
    assert plain.decode(64, 64 * 500) < skewed.decode(64, 64 * 500)
