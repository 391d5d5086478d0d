"""How InferenceX starts its engines, from its public scripts (`benchmarks/` of the repository).

Rows of the data name model, format, GPU and parallelism; the scripts say the rest. They changed
over time, and a row does not say which version it comes from. Where the version at hand cannot be
the one that ran, since users would have waited for minutes who waited for a second, it is not
followed (`DEPARTURES`): that was seen in the measured TTFTs.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEPARTURES", "EngineStart", "Script", "script_of"]

DEEPSEEK = ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3", "nvidia/DeepSeek-R1-NVFP4")
QWEN = ("Qwen/Qwen3.5-397B-A17B",)
GLM = ("zai-org/GLM-5",)
GPT_OSS = ("openai/gpt-oss-120b",)
LLAMA = ("meta-llama/Llama-3.1-70B",)
MINIMAX = ("MiniMaxAI/MiniMax-M2.5",)
KIMI = ("moonshotai/Kimi-K2.5",)

DEPARTURES = (
    "SGLang's limit of 128 running requests is left out for Qwen3.5 and doubled for DeepSeek in 8 "
    "bits",
    "MiniMax-M2.5 keeps its KV cache in 8 bits on B200 and B300, as the script for B300 says, but "
    "that for B200 does not",
    "Kimi-K2.5 has 95 % of the memory, not 90 %",
)
"""From the scripts at hand."""

MANY_USERS = 16
"""From so many users on SGLang is told to look less often for new requests."""


@dataclass(frozen=True)
class Script:
    """What a script sets, as the engine counts it."""

    max_num_batched_tokens: int = 8192
    max_num_seqs: int = 8192
    max_cudagraph_capture_size: int | None = None
    gpu_memory_utilization: float = 0.95
    eight_bit_kv: bool = True
    """Keep the KV cache in 8 bits where weights have as few."""
    polled: int = 0
    """Iterations after which the engine looks for new requests; 0: after each."""


@dataclass(frozen=True)
class EngineStart:
    """What a row says of the engine, as far as scripts depend on it."""

    engine: str
    model: str
    gpu: str
    weights: str
    tp: int
    users: int


def script_of(row: EngineStart) -> Script:
    """Settings of one run; where no script is known, those that most of them share."""
    if row.engine == "SGLang":
        return _sglang(row)
    if row.engine == "TRT-LLM":
        return Script(max_num_batched_tokens=_tensorrt_budget(row.model))
    return _vllm(row)


def _vllm(row: EngineStart) -> Script:
    """Their limits of sequences are the number of users, or above."""
    if row.model in GPT_OSS:
        eight_bits = not row.gpu.startswith("H100")
        return Script(
            max_cudagraph_capture_size=2048, gpu_memory_utilization=0.9, eight_bit_kv=eight_bits
        )
    if row.model in LLAMA:
        return Script(gpu_memory_utilization=0.9)
    if row.model in MINIMAX:
        if row.gpu.startswith("H100"):
            return Script(gpu_memory_utilization=0.9, eight_bit_kv=False)
        return Script()
    if row.model in KIMI:
        return Script(eight_bit_kv=row.weights == "fp4")
    return Script()


def _tensorrt_budget(model: str) -> int:
    if model in GPT_OSS:
        return 20_000
    return 16_384 if model in LLAMA else 8192


def _sglang(row: EngineStart) -> Script:
    often, seldom = 10, 30
    looks = seldom if row.users >= MANY_USERS else often
    if row.model in DEEPSEEK:
        if row.weights == "fp4":
            return Script(16_384, 256, polled=looks)
        return Script(8192, 32, polled=often) if row.tp == 4 else Script(32_768, 256, polled=looks)
    if row.model in QWEN:
        return Script(32_768, polled=seldom if row.weights == "fp4" else looks)
    if row.model in GLM:
        return Script(32_768, polled=often if row.weights == "fp4" else 0)
    return Script()
