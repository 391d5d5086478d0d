"""Typed reading of a Hugging Face config.json, with errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping

from servetwin.errors import InputError

__all__ = ["Config"]

LARGEST = 1 << 31
"""Bound of every size a config may name; more is taken for a broken file."""


class Config:
    """The keys of a config. A key that is null counts as missing, as in transformers.

    Methods take several names where families disagree on one; the first present wins.
    """

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self._values = values
        self.where = where
        """Name of the model or file, for messages."""

    def error(self, message: str) -> InputError:
        """Build the error of a value that makes no sense."""
        return InputError(f"config of {self.where}: {message}")

    def get(self, *names: str) -> object:
        """Return the raw value of the first name present, or None."""
        for name in names:
            value = self._values.get(name)
            if value is not None:
                return value
        return None

    def whole(
        self, *names: str, default: int | None = None, low: int = 1, high: int = LARGEST
    ) -> int:
        """Read a whole number from `low` to `high`; without a default the key is required."""
        value = self.get(*names)
        if value is None:
            if default is None:
                raise self.error(f"key '{names[0]}' is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(
                f"'{names[0]}' must be a whole number from {low} to {high}, not {_short(value)}"
            )
        return value

    def flag(self, *names: str, default: bool = False) -> bool:
        """Read true or false."""
        value = self.get(*names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"'{names[0]}' must be true or false, not {_short(value)}")
        return value

    def word(self, *names: str, default: str = "") -> str:
        """Read a string."""
        value = self.get(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(f"'{names[0]}' must be a string, not {_short(value)}")
        return value

    def items(self, *names: str) -> list[object] | None:
        """Read a list, or None where there is none."""
        value = self.get(*names)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(f"'{names[0]}' must be a list, not {_short(value)}")
        return value

    def section(self, *names: str) -> Config | None:
        """Read a nested table, or None where there is none."""
        value = self.get(*names)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.error(f"'{names[0]}' must be a table, not {_short(value)}")
        return Config(value, f"{self.where}, {names[0]}")

    def over(self, defaults: Mapping[str, object]) -> Config:
        """Return the config with `defaults` under the keys that it lacks."""
        present = {key: value for key, value in self._values.items() if value is not None}
        return Config({**defaults, **present}, self.where)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
