"""RunSettings: everything that `servetwin simulate` can be told, and the only list of it.

Flags, YAML files, `--set` and the `config` of a summary.json all become one RunSettings. The
name of a field is the name of its flag, with underscores for dashes.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from servetwin.cli.failure_settings import FailureSettings
from servetwin.cli.pipeline_settings import PipelineSettings
from servetwin.cli.pool_settings import POOL_DEFAULTS, PoolSettings
from servetwin.cli.setting_fields import (
    Count,
    Names,
    Positive,
    Rates,
    Table,
    Tiers,
    option,
    split_table,
)

__all__ = [
    "DEFAULTS",
    "OUTPUT_FIELDS",
    "REPEATED",
    "TABLES",
    "RunSettings",
    "panel_of",
    "split_table",
]

TABLES = ("map", "slo")
"""Fields with named parts: `--slo ttft=1s,tpot=50ms`, `--set slo.ttft=1s`, or a YAML table."""

REPEATED = ("also", "kv_tier", "decode_kv_tier")
"""Fields whose flag may be given several times."""

OUTPUT_FIELDS = ("out", "chrome_trace", "report", "intervals")
"""Fields that say what is written, and where; they are no part of a saved configuration."""

DEFAULTS = (
    "link",
    "ep",
    "microbatches",
    "max_num_seqs",
    "max_num_batched_tokens",
    "max_model_len",
    "quantization",
    "kv_cache_dtype",
    "async_scheduling",
)
"""Fields that follow from the rest of the deployment where nobody sets them."""


class RunSettings(PipelineSettings, PoolSettings, FailureSettings):
    """One simulation, or one sweep over request rates."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    model: str | None = option(
        None, "Deployment", "NAME", "Catalog name, Hugging Face id, or path to a config.json."
    )
    gpu: str | None = option(
        None, "Deployment", "NAME", "Accelerator: A100-80GB, H100-SXM, … (see `catalog gpus`)."
    )
    link: str | None = option(
        None, "Deployment", "NAME", "Connection between the GPUs of one engine; else the GPU's own."
    )
    tp: Count = option(1, "Deployment", "N", "Tensor-parallel devices.")
    pp: Count = option(1, "Deployment", "N", "Pipeline stages.")
    dp: Count = option(1, "Deployment", "N", "Data-parallel attention ranks of one engine.")
    ep: Count = option(1, "Deployment", "N", "Devices over which whole experts are spread.")
    replicas: Count = option(1, "Deployment", "N", "Independent engines behind the router.")
    also: Tiers | None = option(
        None,
        "Deployment",
        "GPU:N:TP",
        "N more replicas on another GPU behind the same router: A100-80GB:3:2,speed=0.9. Repeat "
        "it for more kinds.",
    )
    router: str = option(
        "round-robin",
        "Deployment",
        "NAME",
        "round-robin, least-outstanding, least-tokens, power-of-two, random or cache-aware.",
    )

    frontend: str = option(
        "usual",
        "Deployment",
        "TIME,TIME",
        "HTTP server and tokeniser in front of the engines, for a request and for an input token: "
        "8ms,5us; or none.",
    )

    scheduler: str = option(
        "vllm", "Engine", "NAME", "vllm, sarathi, orca, static, slots or single."
    )
    scheduling_policy: str = option(
        "fcfs", "Engine", "NAME", "Who is served first: fcfs, or priority (vllm only)."
    )
    max_num_seqs: Count | None = option(
        None, "Engine", "N", "Requests that may run at once, on each dp rank."
    )
    max_num_batched_tokens: Count | None = option(
        None, "Engine", "N", "Tokens one iteration may process, on each dp rank."
    )
    max_model_len: Count | None = option(
        None, "Engine", "N", "Longest input plus output; else the model's, or what memory holds."
    )
    block_size: Annotated[int, Field(ge=1, le=65_536)] = option(
        16, "Engine", "N", "Tokens in one KV block."
    )
    num_gpu_blocks_override: Annotated[int, Field(ge=2, le=10**12)] | None = option(
        None, "Engine", "N", "KV blocks of each dp rank, whatever its memory would hold."
    )
    gpu_memory_utilization: float = option(
        0.9, "Engine", "SHARE", "Share of GPU memory the engine takes."
    )
    quantization: str | None = option(
        None, "Engine", "NAME", "Format of the weights: fp8, awq, …; else as published."
    )
    kv_cache_dtype: str = option("auto", "Engine", "NAME", "auto, fp8, …")
    max_cudagraph_capture_size: Annotated[int, Field(ge=0, le=65_536)] | None = option(
        None,
        "Engine",
        "N",
        "Tokens up to which an iteration is a CUDA graph; else 512, or what twice --max-num-seqs "
        "decode if that is less.",
    )
    enforce_eager: bool = option(
        False, "Engine", "", "Launch every iteration kernel by kernel: no CUDA graphs."
    )
    async_scheduling: bool | None = option(
        None, "Engine", "", "Plan an iteration while the one before it runs (vLLM's default)."
    )
    enable_prefix_caching: bool = option(
        True, "Engine", "", "Keep KV blocks of inputs, where the trace names them (the default)."
    )
    prefix_caching_policy: str = option(
        "vllm-lru", "Engine", "NAME", "Eviction: vllm-lru, fifo, lfu, s3-fifo or flop-aware."
    )
    max_loras: Annotated[int, Field(ge=0, le=10_000)] = option(
        0, "Engine", "N", "Different LoRA adapters in one batch (vllm only); 0 for none at all."
    )
    max_lora_rank: Annotated[int, Field(ge=1, le=4096)] = option(
        16, "Engine", "N", "Rank to which adapters are padded."
    )
    speculative_tokens: Annotated[int, Field(ge=0, le=64)] = option(
        0, "Engine", "N", "Tokens drafted for each verification (MTP, EAGLE, a small model)."
    )
    acceptance_length: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = option(
        None, "Engine", "TOKENS", "Mean tokens that one verification yields, 1 to N + 1."
    )
    draft_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = option(
        0.0, "Engine", "SHARE", "Layers that draft a token, of the model's; else one layer."
    )
    kv_tier: Tiers | None = option(
        None,
        "Engine",
        "TIER",
        "Memory for KV blocks that HBM evicts: host=64GB@25GB/s,latency=10us. Repeat it for "
        "more, the nearest first; host, ssd and remote have speeds of their own.",
    )
    engine_args: str | None = option(
        None, "Engine", '"…"', "A pasted `vllm serve` line; other flags win over it."
    )

    trace: str | None = option(None, "Workload", "FILE", "Replay a trace or a request log.")
    format: str | None = option(
        None, "Workload", "NAME", "Format of the trace; else its content decides."
    )
    map: Table | None = option(
        None, "Workload", "ROLE=COLUMN,…", "Read any log: arrival=ts,input=prompt_tokens,output=…"
    )
    workload: str | None = option(
        None, "Workload", "PRESET", "Generate requests like a public trace: azure-conv, …"
    )
    isl: str | None = option(
        None, "Workload", "LENGTHS", "Input tokens: 512, 100..2000, lognormal:mean=1024,p90=2000."
    )
    osl: str | None = option(None, "Workload", "LENGTHS", "Output tokens, written the same way.")
    arrivals: str | None = option(
        None,
        "Workload",
        "PROCESS",
        "poisson, constant, gamma:cv=2, closed:concurrency=32,think=1s, …",
    )
    rps: Positive | None = option(
        None, "Workload", "RATE", "Requests or sessions a second; a trace plays faster or slower."
    )
    turns: str | None = option(
        None, "Workload", "LENGTHS", "Sessions of so many requests, each repeating those before it."
    )
    think: str | None = option(
        None, "Workload", "TIME", "Pause between an answer and the next turn: 5s, exp(5s)."
    )
    requests: Count | None = option(
        None, "Workload", "N", "How many to generate, or to take from the trace."
    )
    max_total_tokens: Count | None = option(
        None, "Workload", "N", "Leave out requests of more input and output tokens together."
    )
    priorities: str | None = option(
        None, "Workload", "SHARES", "Draw a priority for each session or request: 0:0.2,1:0.8."
    )
    adapters: str | None = option(
        None, "Workload", "N", "Draw one of N LoRA adapters for each session or request: 16:zipf=1."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = option(
        0, "Workload", "N", "Of everything drawn; equal seeds give equal runs."
    )

    cost: str = option(
        "derived",
        "Simulation",
        "LEVEL",
        "Where times come from: derived, a folder of kernel timings, or aiconfigurator.",
    )
    slo: Table | None = option(
        None, "Simulation", "LIMITS", "ttft=500ms,tpot=50ms,e2e=10s,p=0.99; gives goodput."
    )
    price: str | None = option(
        None,
        "Simulation",
        "USD",
        "US dollars for one GPU and hour, or a CSV by the hour; else the catalog's.",
    )
    carbon: str | None = option(
        None, "Simulation", "GRAMS", "gCO2e for a kWh of electricity, or a CSV by the hour."
    )
    electricity_price: str | None = option(
        None, "Simulation", "USD", "US dollars for a kWh, where the GPU's price has it not."
    )
    pue: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = option(
        None, "Simulation", "RATIO", "Energy of the whole site over that of its computers."
    )
    sweep_rps: Rates | None = option(
        None, "Simulation", "RATES", "Load curve over these rates: 0.5,1,2,4,8."
    )
    snapshot_interval: str | None = option(
        None,
        "Simulation",
        "TIME",
        "Between rows of the timeline; 0s for none; else 1s, or longer in long runs.",
    )
    intervals: bool = option(
        True,
        "Simulation",
        "",
        "Simulate twice more, for intervals around the figures (up to 2 million requests).",
    )
    reference: bool = option(
        False, "Simulation", "", "Use the slow simulator that defines the answer."
    )

    out: str | None = option(None, "Output", "DIR", "Write the result's files to this folder.")
    chrome_trace: bool = option(
        False, "Output", "", "Also write trace.json for chrome://tracing or Perfetto."
    )
    report: bool = option(True, "Output", "", "Write report.html beside the files.")

    defaulted: Names = option([], "", "NAMES", "Of a saved run: fields whose values nobody chose.")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true where a number or a text is due; it would count as 1."""
        extra: Any = cls.model_fields[info.field_name or ""].json_schema_extra
        items = value if isinstance(value, list) else [value]
        if extra["metavar"] and any(isinstance(item, bool) for item in items):
            raise ValueError("must not be true or false (as YAML reads yes, no, on and off)")
        return value

    @field_validator("defaulted")
    @classmethod
    def _have_defaults(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in (*DEFAULTS, *POOL_DEFAULTS):
                raise ValueError(f"can only name {', '.join((*DEFAULTS, *POOL_DEFAULTS))}")
        return names


def panel_of(name: str) -> str:
    """Heading under which a field stands in `--help`; "" for one that has no flag."""
    extra: Any = RunSettings.model_fields[name].json_schema_extra
    return str(extra["panel"])
