"""Models, accelerators and links as data, and Hugging Face configs as models."""

from servetwin.catalog.huggingface import model_from_config
from servetwin.catalog.models import find_model, model_names, models
from servetwin.catalog.parameters import ParameterCount, count_parameters

__all__ = [
    "ParameterCount",
    "count_parameters",
    "find_model",
    "model_from_config",
    "model_names",
    "models",
]
