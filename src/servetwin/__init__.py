"""A digital twin for LLM serving: simulate, run, measure, and compare."""

__version__ = "0.1.0"

__all__ = ["__version__"]
