"""Kernels without the code for what a run does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest

from servetwin.cache.kernel.compile import from_python, outlined
from servetwin.cache.kernel.features import OPTIONAL

WHOLE = np.dtype([("x", "i8"), ("rare", "i8")])
PLAIN = np.dtype([("x", "i8")])


@pytest.fixture(autouse=True)
def rare_is_optional() -> Iterator[None]:
    OPTIONAL.add("rare")
    yield
    OPTIONAL.discard("rare")


def called(function: Any, dtype: np.dtype[Any], **values: int) -> Any:
    record = np.zeros(1, dtype)
    for name, value in values.items():
        record[name] = value
    return from_python(outlined(function))(record[0])


def twice(settings):
    found = settings.x
    if settings.rare and found > 0:
        found += 100
    if not settings.rare or found < 0:
        found += 1000
    if settings.rare > 2:
        found += settings.rare
    return found


@pytest.mark.parametrize(("x", "rare"), [(1, 0), (0, 0), (-3, 0), (1, 1), (5, 7), (-2, 9)])
def test_the_answer_is_that_of_python(x: int, rare: int) -> None:
    class Settings:
        pass

    settings: Any = Settings()
    settings.x, settings.rare = x, rare
    assert called(twice, WHOLE, x=x, rare=rare) == twice(settings)
    if not rare:
        assert called(twice, PLAIN, x=x) == twice(settings)


@outlined
def never(settings):
    return settings.x.no_such_thing


def test_what_is_left_out_is_not_even_compiled() -> None:
    def asks(settings):
        if settings.rare:
            return never(settings)
        return settings.x

    assert called(asks, PLAIN, x=4) == 4
    with pytest.raises(numba.TypingError):
        called(asks, WHOLE, x=4)


def test_a_misspelt_field_is_an_error() -> None:
    def misspelt(settings):
        return settings.x + settings.raer

    with pytest.raises((numba.TypingError, KeyError), match="raer"):
        called(misspelt, PLAIN, x=4)
