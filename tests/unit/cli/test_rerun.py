"""A saved configuration runs again as it is; what nobody chose follows what is changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.cli.build import build_deployment, prepare, resolved
from servetwin.cli.layers import load_settings
from servetwin.cli.settings import DEFAULTS, RunSettings
from servetwin.errors import InputError

WORK = {"isl": "100", "osl": "10", "requests": "5"}
LLAMA = {"model": "meta-llama/Llama-3.1-8B", "gpu": "A100-80GB", **WORK}


def saved(folder: Path, **flags: Any) -> Path:
    """The summary.json of a run with these flags, as far as running it again reads it."""
    config = prepare(load_settings(flags).settings).config
    path = folder / "summary.json"
    path.write_text(json.dumps({"schema": "servetwin.run/1", "config": config}))
    return path


def config_of(flags: dict[str, Any], file: Path | None = None, *sets: str) -> dict[str, Any]:
    settings = load_settings(flags, file, sets).settings
    return resolved(settings, build_deployment(settings)[0])


def test_what_nobody_chose_is_named() -> None:
    assert config_of(LLAMA)["defaulted"] == [name for name in DEFAULTS if name != "ep"]
    line = "-tp 2 --max-num-seqs 8 --kv-cache-dtype fp8 --no-async-scheduling"
    chosen = {"engine_args": line, "link": "PCIe4"}
    assert config_of({**LLAMA, **chosen})["defaulted"] == [
        "microbatches",
        "max_num_batched_tokens",
        "max_model_len",
        "quantization",
    ]


@pytest.mark.parametrize(
    "flags",
    [
        LLAMA,
        {**LLAMA, "gpu": "L4"},
        {**LLAMA, "gpu": "V100-SXM2-32GB", "max_num_seqs": "16", "dp": "2"},
        {**LLAMA, "model": "Qwen/Qwen3-30B-A3B", "engine_args": "-tp 2 --enable-expert-parallel"},
    ],
)
def test_a_saved_run_is_the_same_where_nothing_is_overridden(
    flags: dict[str, str], tmp_path: Path
) -> None:
    first = prepare(load_settings(flags).settings)
    again = prepare(load_settings({}, saved(tmp_path, **flags)).settings)
    assert (again.config, again.notes) == (first.config, first.notes)
    assert again.deployment == first.deployment
    more = prepare(load_settings({"seed": "3", "rps": "2"}, saved(tmp_path, **flags)).settings)
    assert more.deployment == first.deployment


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": "H100-SXM"},
        {"gpu": "L4", "scheduler": "orca"},
        {"model": "deepseek-ai/DeepSeek-V3", "gpu": "B200", "tp": "8"},
        {"model": "openai-community/gpt2"},
        {"scheduler": "slots"},
        {"engine_args": "--max-num-batched-tokens 100"},
        {"replicas": "2"},
    ],
)
def test_defaults_follow_what_is_overridden(changed: dict[str, str], tmp_path: Path) -> None:
    """A run with an override is the run that flags alone would have given."""
    file = saved(tmp_path, **LLAMA)
    assert config_of(changed, file) == config_of({**LLAMA, **changed})


def test_set_overrides_as_flags_do(tmp_path: Path) -> None:
    file = saved(tmp_path, **LLAMA)
    changed = config_of({}, file, "gpu=H100-SXM")
    assert changed == config_of({**LLAMA, "gpu": "H100-SXM"})
    assert (changed["link"], changed["max_num_seqs"]) == ("NVSwitch3", 1024)


def test_what_was_chosen_stays(tmp_path: Path) -> None:
    chosen = {"link": "PCIe3", "max_num_seqs": "99", "max_model_len": "5000"}
    file = saved(tmp_path, **LLAMA, **chosen, quantization="bf16", kv_cache_dtype="fp8")
    config = config_of({"gpu": "H100-SXM", "model": "Qwen/Qwen3-32B-FP8"}, file)
    assert (config["link"], config["max_num_seqs"], config["max_model_len"]) == ("PCIe3", 99, 5000)
    assert (config["quantization"], config["kv_cache_dtype"]) == ("bf16", "fp8")
    assert config["max_num_batched_tokens"] == 8192


def test_experts_over_every_device_stay_over_every_device(tmp_path: Path) -> None:
    flags = {**LLAMA, "model": "Qwen/Qwen3-30B-A3B"}
    file = saved(tmp_path, **flags, engine_args="-tp 2 --enable-expert-parallel")
    assert config_of({"tp": "4"}, file)["ep"] == 4
    assert config_of({"tp": "4", "ep": "2"}, file)["ep"] == 2


def test_a_chain_of_reruns_ends_where_flags_do(tmp_path: Path) -> None:
    file = saved(tmp_path, **LLAMA)
    settings = load_settings({"gpu": "L4"}, file).settings
    config = resolved(settings, build_deployment(settings)[0])
    file.write_text(json.dumps({"schema": "servetwin.run/1", "config": config}))
    assert config_of({"gpu": "A100-80GB"}, file) == config_of(LLAMA)


@pytest.mark.parametrize("value", ["[gpu]", "[[link]]", "link, tpp", "{a: b}", "3"])
def test_a_list_that_no_run_has_saved(value: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"model: gpt2\ndefaulted: {value}\n")
    with pytest.raises(InputError, match=r"run\.yaml:2: defaulted"):
        load_settings({"gpu": "A10"}, file)


def test_a_configuration_saved_before_there_was_a_list_still_runs() -> None:
    config = config_of(LLAMA)
    del config["defaulted"]
    given = {name: value for name, value in config.items() if value is not None}
    assert build_deployment(RunSettings(**given))[0].settings.max_num_seqs == 256
