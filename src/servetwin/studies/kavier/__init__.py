"""`servetwin study kavier`: Kavier's command line, its sweeps and its post-processing.

The flags are spelled as in its reproducibility document, so that what stands there can be
typed. The numbered experiments are in `studies/kavier_experiments/`.
"""
