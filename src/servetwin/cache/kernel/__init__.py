"""The policies in flat arrays: the reference's answers, a thousand times as fast.

Importing this package imports numba. `pool` is for other kernels too; `traces` replays whole
traces.
"""
