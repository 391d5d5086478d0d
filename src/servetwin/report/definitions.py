"""The metrics' definitions, printed with every report."""

from __future__ import annotations

__all__ = ["DEFINITIONS"]

DEFINITIONS = {
    "TTFT": (
        "Time to first token: first token - arrival. In a measured run the arrival is the time "
        "at which the request was scheduled to be sent, so a slow client cannot hide queueing."
    ),
    "TPOT": (
        "Time per output token: (last token - first token) / (output tokens - 1). Requests with "
        "one output token are left out."
    ),
    "ITL": (
        "Inter-token latency: every gap between two tokens of a request, from a histogram whose "
        "bins are at most 0.4 % wide."
    ),
    "Queue": "Queue time: first scheduled - arrival.",
    "E2E": "End-to-end latency: last token - arrival.",
    "Throughput": "Output tokens of completed requests / time from first arrival to last token.",
    "Goodput": (
        "Requests per second that meet every limit of the SLO. A deployment meets its SLO when "
        "at least the share asked for (99 % by default) of all its requests meets every limit."
    ),
    "Percentiles": (
        "Linear interpolation over the exact values of all completed requests. A percentile "
        "over time is one of the requests that arrived within the same bin."
    ),
    "Energy": (
        "Power from the work of each interval, by a combination of eight power models, times "
        "its length; idle time included. Joules and watts are the devices' own; Wh, gCO2e and "
        "dollars by request and token include PUE."
    ),
    "ISL, OSL": "Input and output sequence length, in tokens.",
    "KV blocks": "Blocks of the KV cache that hold tokens of running requests.",
}
