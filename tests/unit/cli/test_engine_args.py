"""Lines people paste, and what they mean here."""

import pytest

from servetwin.cli.engine_args import parse_engine_args
from servetwin.cli.layers import load_settings
from servetwin.errors import InputError


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --max-num-seqs 64",
        "vllm serve Qwen/Qwen3-8B -tp 2 --max-num-seqs=64",
        "CUDA_VISIBLE_DEVICES=0,1 vllm serve Qwen/Qwen3-8B -tp=2 --max_num_seqs 64",
        "vllm serve Qwen/Qwen3-8B \\\n  -tp 2 \\\n  --max-num-seqs 64",
        "python -m vllm.entrypoints.openai.api_server serve --model Qwen/Qwen3-8B -tp 2"
        " --max-num-seqs 64",
        "--model 'Qwen/Qwen3-8B' -tp 2 --max-num-seqs 64",
        "vllm serve Qwen/Qwen3-8B --trust-remote-code -tp 2 --max-num-seqs 64 --port 8000",
    ],
)
def test_spellings_of_one_line(line: str) -> None:
    args = parse_engine_args(line)
    assert args.values == {"model": "Qwen/Qwen3-8B", "tp": "2", "max_num_seqs": "64"}
    assert args.unknown == ()


def test_what_is_not_understood_is_named_with_its_value() -> None:
    args = parse_engine_args("--swap-space 4 --enable-eplb --kv-transfer-config '{\"a\": 1}'")
    assert args.values == {}
    assert args.unknown == ("--swap-space 4", "--enable-eplb", '--kv-transfer-config {"a": 1}')


def test_a_switch_does_not_swallow_the_model() -> None:
    args = parse_engine_args("vllm serve --enforce-eager gpt2")
    assert args.values == {"model": "gpt2", "enforce_eager": True}


@pytest.mark.parametrize(("text", "count"), [("32k", "32000"), ("32K", "32768"), ("8192", "8192")])
def test_human_readable_lengths(text: str, count: str) -> None:
    assert parse_engine_args(f"--max-model-len {text}").values == {"max_model_len": count}


@pytest.mark.parametrize(
    ("line", "flags", "ep"),
    [
        ("-tp 4 -dp 2 --enable-expert-parallel", {}, 8),
        ("-tp 4 --enable-expert-parallel", {"tp": "8"}, 8),
        ("--enable-expert-parallel", {"tp": "2", "dp": "3"}, 6),
        ("-tp 4 --enable-expert-parallel", {"ep": "2"}, 2),
        ("-tp 4 --no-enable-expert-parallel", {}, 1),
        ("-tp 4", {}, 1),
    ],
)
def test_expert_parallel_uses_all_devices_of_a_stage(
    line: str, flags: dict[str, str], ep: int
) -> None:
    assert load_settings({"engine_args": line, **flags}).settings.ep == ep


def test_chunked_prefill_is_always_on_and_its_absence_is_named() -> None:
    assert parse_engine_args("--enable-chunked-prefill").unknown == ()
    off = "--no-enable-chunked-prefill"
    assert parse_engine_args(off).unknown == (off,)


def test_prefix_caching_is_a_switch() -> None:
    for flag, wanted in (("--enable-prefix-caching", True), ("--no-enable-prefix-caching", False)):
        args = parse_engine_args(flag)
        assert args.values == {"enable_prefix_caching": wanted}
        assert args.unknown == ()


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float16"])
def test_16_bit_types_change_nothing(dtype: str) -> None:
    assert parse_engine_args(f"--dtype {dtype}").unknown == ()


def test_other_types_are_named() -> None:
    assert parse_engine_args("--dtype float32").unknown == ("--dtype float32",)


@pytest.mark.parametrize("line", ['--model "gpt2', "-tp --port 80", "--max-num-seqs"])
def test_broken_lines(line: str) -> None:
    with pytest.raises(InputError, match=r"^--engine-args: "):
        parse_engine_args(line)


def test_speculation_is_read_from_its_json() -> None:
    line = """vllm serve m --speculative-config '{"method": "mtp", "num_speculative_tokens": 2}'"""
    assert parse_engine_args(line).values["speculative_tokens"] == "2"
    for wrong in ("", "'{}'", "'[1]'", "mtp"):
        with pytest.raises(InputError, match="needs JSON with num_speculative_tokens"):
            parse_engine_args(f"vllm serve m --speculative-config {wrong}")
