"""What the fields of settings are made of: types that read flags and files alike."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

__all__ = [
    "Count",
    "Counts",
    "Names",
    "Positive",
    "Rates",
    "Table",
    "Tiers",
    "option",
    "split_table",
]


def split_table(value: Any) -> Any:
    """Turn `a=b,c=d` into a dict; leave anything else for validation to judge."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",")]
    if any(not equals for _, equals, _ in parts):
        raise ValueError("must be written name=value,name=value")
    names = [name.strip() for name, _, _ in parts]
    if len(set(names)) < len(names):
        raise ValueError("names one part twice")
    return {name.strip(): text.strip() for name, _, text in parts}


def _split_list(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Table = Annotated[dict[str, str], BeforeValidator(split_table)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], BeforeValidator(_split_list), Field(min_length=1)]
Names = Annotated[list[str], BeforeValidator(_split_list)]
Tiers = Annotated[list[str], BeforeValidator(_listed), Field(max_length=8)]
Rates = Annotated[list[Positive], BeforeValidator(_split_list), Field(min_length=1)]


def option(default: Any, panel: str, metavar: str, text: str) -> Any:
    """Declare a field with its place in `--help`, its placeholder there, and its description."""
    return Field(default, description=text, json_schema_extra={"panel": panel, "metavar": metavar})
