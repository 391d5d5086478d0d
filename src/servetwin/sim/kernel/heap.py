"""A binary heap of follow-ups to come, ordered by (time, request)."""

from servetwin.sim.kernel.compile import outlined
from servetwin.sim.kernel.state import Int, Ints, Shorts

__all__ = ["pop", "push"]


@outlined
def push(times: Ints, requests: Shorts, size: Int, time: Int, request: Int) -> None:
    """Insert into the first `size` entries; the caller counts."""
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if times[up] < time or (times[up] == time and requests[up] < request):
            break
        times[at] = times[up]
        requests[at] = requests[up]
        at = up
    times[at] = time
    requests[at] = request


@outlined
def pop(times: Ints, requests: Shorts, size: Int) -> None:
    """Remove the first of `size` entries; the caller has read it, and counts."""
    last = size - 1
    time = times[last]
    request = requests[last]
    at = 0
    while True:
        down = 2 * at + 1
        if down >= last:
            break
        right = down + 1
        if right < last and (
            times[right] < times[down]
            or (times[right] == times[down] and requests[right] < requests[down])
        ):
            down = right
        if time < times[down] or (time == times[down] and request < requests[down]):
            break
        times[at] = times[down]
        requests[at] = requests[down]
        at = down
    times[at] = time
    requests[at] = request
