"""A pasted `vllm serve` line -> settings, and the options in it that mean nothing here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from servetwin.errors import InputError

__all__ = ["EVERY_DEVICE", "EngineArgs", "parse_engine_args"]

VALUES = {
    "model": "model",
    "tensor-parallel-size": "tp",
    "pipeline-parallel-size": "pp",
    "data-parallel-size": "dp",
    "max-num-seqs": "max_num_seqs",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "max-model-len": "max_model_len",
    "block-size": "block_size",
    "num-gpu-blocks-override": "num_gpu_blocks_override",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "quantization": "quantization",
    "kv-cache-dtype": "kv_cache_dtype",
    "max-cudagraph-capture-size": "max_cudagraph_capture_size",
    "scheduling-policy": "scheduling_policy",
    "max-loras": "max_loras",
    "max-lora-rank": "max_lora_rank",
}
"""vLLM's options that take a value, and the setting each is."""

SHORT = {"tp": "tensor-parallel-size", "pp": "pipeline-parallel-size", "dp": "data-parallel-size"}
SHORT |= {"q": "quantization", "ep": "enable-expert-parallel"}

SWITCHES = ("async-scheduling", "enable-prefix-caching", "enable-expert-parallel", "enforce-eager")

CHUNKS_OFF = "no-enable-chunked-prefill"
"""Not what is simulated: chunked prefill is always on."""

# Names, addresses, logs and parsers: they change no time.
WITHOUT_EFFECT = """
    host port api-key served-model-name tokenizer tokenizer-mode revision tokenizer-revision
    download-dir load-format seed chat-template tool-call-parser reasoning-parser max-log-len
    uvicorn-log-level root-path ssl-keyfile ssl-certfile response-role hf-token config-format
    generation-config allowed-origins distributed-executor-backend
    trust-remote-code disable-log-requests disable-log-stats enable-log-requests
    enable-auto-tool-choice enable-chunked-prefill
"""

EVERY_DEVICE = "all"
"""Value of `ep` for --enable-expert-parallel: tp x dp, once stronger layers have set these."""

HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG])")
FACTORS = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
COUNTS = ("max_model_len", "max_num_batched_tokens")


@dataclass(frozen=True)
class EngineArgs:
    """What a line says, by the names of RunSettings, and the options it was not understood in."""

    values: dict[str, str | bool]
    unknown: tuple[str, ...]


def parse_engine_args(line: str) -> EngineArgs:
    """Read options as vLLM accepts them: `--x y`, `--x=y`, `-tp 2`, `--x_y 2`, `--no-x`.

    What comes before `serve` (variables, `docker run …`) is left out. Raises InputError for
    an unbalanced quote or an option without its value.
    """
    values: dict[str, str | bool] = {}
    unknown: list[str] = []
    for name, value, written in _options(_words(line)):
        positive = name.removeprefix("no-")
        if name in VALUES:
            if value is None:
                raise InputError(f"--engine-args: {written} needs a value")
            values[VALUES[name]] = _plain_count(VALUES[name], value)
        elif name == "speculative-config":
            values["speculative_tokens"] = _drafted(value)
        elif positive == "enable-expert-parallel":
            values["ep"] = EVERY_DEVICE if positive == name else "1"
        elif name == "enable-lora":
            values.setdefault("max_loras", "1")  # vLLM's default
        elif positive in SWITCHES:
            values[positive.replace("-", "_")] = positive == name
        elif name == CHUNKS_OFF or not _without_effect(positive, value):
            unknown.append(written if value is None else f"{written} {value}")
    return EngineArgs(values, tuple(unknown))


def _drafted(config: str | None) -> str:
    """Tokens that vLLM's JSON for speculative decoding drafts for each verification."""
    try:
        return str(int(json.loads(config or "")["num_speculative_tokens"]))
    except (ValueError, TypeError, KeyError):
        raise InputError(
            "--engine-args: --speculative-config needs JSON with num_speculative_tokens, as "
            """'{"method": "mtp", "num_speculative_tokens": 1}'"""
        ) from None


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line.replace("\\\n", " "))
    except ValueError as error:
        raise InputError(f"--engine-args: {str(error).lower()} in {line[:60]!r}") from None
    return words[words.index("serve") + 1 :] if "serve" in words else words


def _options(words: list[str]) -> Iterator[tuple[str, str | None, str]]:
    """Yield each option's full name, its value if it has one, and how it was written."""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-"):
            # A model is the only thing that `vllm serve` takes without a name.
            yield "model", word, word
            continue
        written, equals, given = word.partition("=")
        name = written.lstrip("-").replace("_", "-")
        name = SHORT.get(name, name)
        value = given if equals else None
        follows = position < len(words) and not words[position].startswith("-")
        if value is None and follows and not _is_switch(name):
            value = words[position]
            position += 1
        yield name, value, written


def _is_switch(name: str) -> bool:
    positive = name.removeprefix("no-")
    known = (*SWITCHES, "trust-remote-code", "enable-chunked-prefill")
    return positive in known or positive.startswith(("enable-", "disable-"))


def _without_effect(name: str, value: str | None) -> bool:
    if name == "dtype":
        return value in ("auto", "bfloat16", "float16", "half")
    return name in WITHOUT_EFFECT.split()


def _plain_count(setting: str, value: str) -> str:
    """Spell out vLLM's 32k (thousands) and 32K (of 1,024)."""
    match = HUMAN.fullmatch(value) if setting in COUNTS else None
    return str(int(float(match[1]) * FACTORS[match[2]])) if match else value
