"""Models, accelerators and links as data, and Hugging Face configs as models."""

from servetwin.catalog.hardware import (
    accelerator_names,
    accelerators,
    find_accelerator,
    find_link,
    link_names,
    links,
)
from servetwin.catalog.huggingface import model_from_config
from servetwin.catalog.models import find_model, model_names, models
from servetwin.catalog.parameters import ParameterCount, count_parameters

__all__ = [
    "ParameterCount",
    "accelerator_names",
    "accelerators",
    "count_parameters",
    "find_accelerator",
    "find_link",
    "find_model",
    "link_names",
    "links",
    "model_from_config",
    "model_names",
    "models",
]
