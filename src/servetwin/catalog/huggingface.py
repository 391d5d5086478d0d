"""From a Hugging Face config.json to a Model. Nothing is downloaded, nothing executed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from servetwin.catalog.config import Config
from servetwin.catalog.families import classic, dense, hybrid, latent, mixture
from servetwin.catalog.families.shared import wide_parts
from servetwin.errors import InputError
from servetwin.types import Model

__all__ = ["SUPPORTED", "model_from_config", "model_from_file"]

MAX_FILE_BYTES = 8 << 20
"""Published config files have a few kilobytes; more is something else."""

FAMILIES: Mapping[str, Callable[[Config], Model]] = {
    "llama": dense.llama,
    "aquila": dense.llama,
    "deci": dense.deci,
    "granite": dense.llama,
    "mistral": dense.mistral,
    "phi3": dense.phi3,
    "qwen2": dense.qwen2,
    "qwen3": dense.qwen3,
    "gemma2": dense.gemma2,
    "gemma3": dense.gemma3,
    "mixtral": mixture.mixtral,
    "phimoe": mixture.phimoe,
    "granitemoe": mixture.granite_moe,
    "qwen2_moe": mixture.qwen2_moe,
    "qwen3_moe": mixture.qwen3_moe,
    "glm4_moe": mixture.glm4_moe,
    "minimax_m2": mixture.minimax_m2,
    "gpt_oss": mixture.gpt_oss,
    "llama4": mixture.llama4,
    "qwen3_next": hybrid.qwen3_next,
    "qwen3_5": hybrid.qwen3_5,
    "qwen3_5_moe": hybrid.qwen3_5_moe,
    "deepseek_v2": latent.deepseek_v2,
    "deepseek_v3": latent.deepseek_v3,
    "deepseek_v32": latent.deepseek_v32,
    "kimi_k2": latent.deepseek_v3,
    "kimi_k25": latent.deepseek_v3,
    "glm_moe_dsa": latent.glm_moe_dsa,
    "gpt2": classic.gpt2,
    "gptj": classic.gptj,
    "gpt_bigcode": classic.gpt_bigcode,
    "opt": classic.opt,
    "bloom": classic.bloom,
    "mpt": classic.mpt,
    "phi": classic.phi,
}

SUPPORTED = tuple(sorted(FAMILIES))
"""Values of `model_type` that can be read."""


def model_from_config(config: Mapping[str, object], name: str) -> Model:
    """Build a Model called `name` from the keys of a config.json.

    Raises InputError where the architecture is not supported, a key is missing, or the
    values contradict each other.
    """
    whole = Config(config, name)
    text = _text_config(whole)
    build = _family(whole, text)
    try:
        return replace(build(text), wide_parts=wide_parts(text))
    except ValueError as error:
        message = str(error).removeprefix(f"{text.where}: ")
        raise text.error(message) from None


def _text_config(whole: Config) -> Config:
    """Return the language model's part of a multimodal config, or the config itself.

    The outer table may hold the weight type, the quantization and the tying.
    """
    text = whole.section("text_config")
    if text is None:
        return whole
    inherited = ("dtype", "torch_dtype", "quantization_config", "tie_word_embeddings")
    outer = {key: whole.get(key) for key in inherited if whole.get(key) is not None}
    merged = text.over(outer)
    merged.where = whole.where
    return merged


def _family(whole: Config, text: Config) -> Callable[[Config], Model]:
    """Find the builder: by the inner `model_type`, the outer one, then `architectures`."""
    for config in (text, whole):
        kind = config.word("model_type").replace("-", "_").casefold()
        build = FAMILIES.get(kind.removesuffix("_text"))
        if build is not None:
            return build
    classes = whole.items("architectures") or []
    for name in classes:
        for kind, build in FAMILIES.items():
            if _class_stem(name) == kind.replace("_", ""):
                return build
    named = whole.word("model_type") or (classes[0] if classes else "none named")
    raise whole.error(
        f"architecture '{str(named)[:60]}' is not supported; supported are {', '.join(SUPPORTED)}"
    )


def _class_stem(name: object) -> str:
    """Reduce a class name such as Qwen3MoeForCausalLM to qwen3moe."""
    return str(name).split("For")[0].removesuffix("LMHeadModel").replace("_", "").casefold()


def model_from_file(path: Path, name: str) -> Model:
    """Read a config.json, or the one in a folder.

    Raises InputError where there is none, it is no JSON object, or it is far too large.
    """
    file = path
    try:
        if path.is_dir():
            file = path / "config.json"
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InputError(f"cannot read {str(file)[:200]!r}: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{file} is larger than any config.json ({MAX_FILE_BYTES >> 20} MiB)")
    return model_from_config(_parse(data, file), name)


def _parse(data: bytes, file: Path) -> Mapping[str, object]:
    try:
        values = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: byte {error.start} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{file}: {where}: {error.msg}, in what should be JSON") from None
    except (RecursionError, ValueError):
        raise InputError(f"{file}: nested too deep or numbers too long for a config") from None
    if not isinstance(values, dict):
        raise InputError(f"{file}: a config.json holds one table, not a {type(values).__name__}")
    return values
