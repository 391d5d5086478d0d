"""Finding models: names, aliases, paths, and what the data name."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import find_model, model_names, models
from servetwin.catalog.names import fold, name_index
from servetwin.catalog.reference import models_page
from servetwin.errors import InputError
from servetwin.types import AttentionKind, Model

ENTRIES = importlib.import_module("servetwin.catalog.models").model_entries()
REPOSITORY = Path(__file__).resolve().parents[3]


def cache_elements(model: Model) -> int:
    """Elements that one token adds to the KV cache of an unlimited window."""
    grouped = model.layers_of(AttentionKind.FULL, AttentionKind.SLIDING)
    latent = model.layers_of(AttentionKind.LATENT, AttentionKind.SPARSE_LATENT)
    total = grouped * 2 * model.kv_heads * model.head_dim
    if model.latent:
        total += latent * (model.latent.kv_lora_rank + model.latent.rope_head_dim)
    return total


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Llama-3-8B", "meta-llama/Meta-Llama-3-8B"),
        ("llama2-70b", "meta-llama/Llama-2-70b-hf"),
        ("Llama 2 7B", "meta-llama/Llama-2-7b-hf"),
        ("meta_llama/llama 3.1_8b", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B"),
        ("OPT-30B", "facebook/opt-30b"),
        ("bloom-176b", "bigscience/bloom"),
        ("gpt2", "openai-community/gpt2"),
        ("DialoGPT-small", "microsoft/DialoGPT-small"),
        ("Granite-20B", "ibm-granite/granite-20b-code-base-8k"),
        ("DeepSeek R1", "deepseek-ai/DeepSeek-R1"),
        ("zhipuai/GLM-5", "zai-org/GLM-5"),
        ("google/gemma-3-12b-it", "google/gemma-3-12b-pt"),
        ("Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_names_people_use(name: str, canonical: str) -> None:
    assert find_model(name).name == canonical


def test_every_entry_builds_and_every_name_finds_it() -> None:
    for entry in ENTRIES:
        model = entry.build()
        assert model.name == entry.name
        assert model.source, entry.name
        for name in entry.names:
            assert find_model(name) == model, name


def test_there_are_enough_models() -> None:
    assert len(models()) == len(set(model_names())) >= 100


def test_entries_are_in_the_words_of_units() -> None:
    assert {model.dtype for model in models()} == {"fp32", "bf16", "fp8", "fp4", "mxfp4", "int4"}


@given(st.sampled_from(model_names()), st.randoms(use_true_random=False))
def test_case_and_separators_do_not_matter(name: str, random: Random) -> None:
    letters = []
    for letter in name:
        letter = random.choice((letter.upper(), letter.lower()))
        letters.append(random.choice(("-", "_", " ", "")) if letter in "-_ " else letter)
    assert find_model("".join(letters)).name == name


def test_shared_names_are_a_fault_of_the_data() -> None:
    with pytest.raises(ValueError, match="two catalog entries"):
        name_index([(["a-b"], object()), (["A_B"], object())])
    assert fold(" A-b_C d ") == "abcd"


@pytest.mark.parametrize("name", ["Llama-3.1-9B", "gpt5", "", "/", "..", "no/such/model"])
def test_unknown_names_are_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        find_model(name)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40) | st.sampled_from(["x" * 5000, "\0", "\0.json", "x" * 5000 + ".json"]))
def test_any_text_is_a_model_or_one_line(name: str) -> None:
    message = ""
    try:
        find_model(name)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 500


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown model 'Llama-3.1-9B': .*Llama-3.1-8B"):
        find_model("Llama-3.1-9B")


SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}


def test_path_to_a_config_or_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL), encoding="utf-8")
    by_file, by_folder = find_model(str(file)), find_model(str(tmp_path))
    assert by_file.kv_heads == 4
    assert by_file.head_dim == 16
    assert by_file.name == str(file)
    assert by_folder.layers == by_file.layers == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1, column 1"),
        (b'{"model_type": "llama",\n  oops}', "line 2, column 3"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b"[1, 2]", "holds one table, not a list"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"model_type": "llama"}', "'num_hidden_layers'|'hidden_size'"),
        (b" " * (9 << 20), "larger than any config.json"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        find_model(str(file))
    assert "\n" not in str(error.value)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        find_model(str(tmp_path / "config.json"))
    with pytest.raises(InputError, match=r"cannot read .*config.json"):
        find_model(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "cache_bytes"),
    [
        ("Llama-3.1-8B", 131_072),
        ("Llama-3-70B", 327_680),
        ("Llama-2-7b-hf", 524_288),
        ("Mistral-7B-v0.1", 131_072),
        ("Mixtral-8x7B", 131_072),
        ("Qwen3-32B", 262_144),
        ("Qwen2.5-7B", 57_344),
        ("Qwen3-30B-A3B", 98_304),
        ("DeepSeek-V3", 70_272),
        ("Kimi-K2.5", 70_272),
        ("GLM-5", 89_856),
        ("OPT-30B", 1_376_256),
        ("bloom-176b", 4_014_080),
        ("Granite-20B", 26_624),
        ("gpt2", 36_864),
        ("Qwen3.5-397B-A17B", 30_720),
        ("MiniMax-M2.5", 253_952),
        ("gpt-oss-120b", 73_728),
        ("gemma-3-12b", 393_216),
    ],
)
def test_cache_bytes_a_token_at_16_bits(name: str, cache_bytes: int) -> None:
    assert 2 * cache_elements(find_model(name)) == cache_bytes


@pytest.mark.parametrize(
    ("name", "window", "sliding", "full"),
    [
        ("Mistral-7B-v0.1", 4096, 32, 0),
        ("Mistral-7B-Instruct-v0.2", 0, 0, 32),
        ("gemma-2-9b", 4096, 21, 21),
        ("gemma-3-1b", 512, 22, 4),
        ("gemma-3-27b", 1024, 52, 10),
        ("gpt-oss-20b", 128, 12, 12),
        ("Phi-3-mini-4k-instruct", 2047, 32, 0),
        ("Llama-4-Scout", 8192, 36, 12),
    ],
)
def test_sliding_windows(name: str, window: int, sliding: int, full: int) -> None:
    model = find_model(name)
    assert model.sliding_window == window
    assert model.layers_of(AttentionKind.SLIDING) == sliding
    assert model.layers_of(AttentionKind.FULL) == full


def test_every_model_of_the_measurements_is_known(data_dir: Path) -> None:
    named = {"llama2-70b", "bloom-176b"}
    for file, column in (
        ("inferencex_silicon/silicon_half.csv", "model_path"),
        ("argonne/All_results.csv", "Model"),
        ("splitwise/perf_model.csv", "model"),
    ):
        with (data_dir / "measured" / file).open(newline="", encoding="utf-8") as stream:
            named |= {row[column] for row in csv.DictReader(stream)}
    for run in (data_dir / "measured" / "mlenergy_v3").glob("*.json"):
        publisher, model, _ = run.name.split("__")
        named.add(f"{publisher}/{model}")
    for meta in (data_dir / "profiles" / "vllm_layers").glob("*/*/*"):
        named.add("/".join(meta.parts[-2:]))
    for profile in (data_dir / "profiles" / "vidur").glob("*_mlp.csv"):
        named.add(profile.name.split("_")[1])
    assert len(named) > 25
    for name in sorted(named):
        find_model(name)


def test_reference_page_is_current() -> None:
    page = REPOSITORY / "docs" / "reference" / "models.md"
    assert page.read_text(encoding="utf-8") == models_page(), (
        "run: python -m servetwin.catalog.reference > docs/reference/models.md"
    )
