"""DéjàVu's published loops once more, written apart from servetwin's, to compare with.

A list of what waits is worked off from the front; everything that goes on is put behind.
"""

from __future__ import annotations

__all__ = ["baseline_us", "disaggregated_us"]


def baseline_us(
    tokens: list[int], arrivals: list[float], ring: tuple[int, float, float]
) -> tuple[list[float], int]:
    """Completions in µs, and early stops. `ring` is stages, prompt and token time in µs."""
    stages, prompt, token = ring
    clock = [0.0] * stages
    waiting = [[j, 0, 1, j * prompt, tokens[j]] for j in range(min(stages, len(tokens)))]
    ends, stops, newest = [0.0] * len(tokens), 0, len(waiting)
    while waiting:
        j, stage, is_prompt, since, left = waiting.pop(0)
        clock[stage] = max(clock[stage], since)
        clock[stage] += prompt if is_prompt else token
        now = clock[stage]
        if stage + 1 < stages:
            waiting.append([j, stage + 1, is_prompt, now, left])
        elif is_prompt:
            waiting.append([j, 0, 0, now, left])
        elif left > 1:
            waiting.append([j, 0, 0, now, left - 1])
        else:
            ends[j] = now
            if any(other[4] > 2 for other in waiting):
                stops += 1
            if newest < len(tokens):
                since = max(clock[0], arrivals[newest])
                waiting.append([newest, 0, 1, since, tokens[newest]])
                newest += 1
    return ends, stops


def disaggregated_us(
    tokens: list[int],
    arrivals: list[float],
    stages: tuple[int, int],
    times: tuple[float, float, float],
) -> list[float]:
    """Completions in µs. `stages` of prompts and tokens; `times` of prompt, token and cache."""
    prompt_stages, token_stages = stages
    prompt, token, cache = times
    first_free, ready = 0.0, []
    for arrival in arrivals:
        start = max(arrival, first_free)
        ready.append(start + prompt_stages * (prompt + cache))
        first_free = start + prompt
    clock = [0.0] * token_stages
    newest = min(token_stages, len(tokens))
    waiting = [(j, 0, ready[j], tokens[j]) for j in range(newest)]
    ends = [0.0] * len(tokens)
    while waiting:
        j, stage, since, left = waiting.pop(0)
        clock[stage] = max(clock[stage], since)
        clock[stage] += token
        if stage + 1 < token_stages:
            waiting.append((j, stage + 1, clock[stage], left))
        elif left > 1:
            waiting.append((j, 0, clock[stage], left - 1))
        else:
            ends[j] = clock[stage]
            if newest < len(tokens):
                waiting.append((newest, 0, ready[newest], tokens[newest]))
                newest += 1
    return ends
