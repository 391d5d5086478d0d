"""Generators as text: what one types after `--isl`, `--osl` and `--arrivals`, or puts in YAML.

A text is a word, and settings behind a colon: `lognormal:mean=1024,p90=2000`. Durations take
a unit (`250ms`, `1s`, `24h`) and are seconds without one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from servetwin.errors import InputError, nearest
from servetwin.workload.arrivals import (
    Arrivals,
    AtOnce,
    ClosedLoop,
    GammaGaps,
    OpenLoop,
    Replay,
    Think,
)
from servetwin.workload.lengths import Fixed, Lengths, Lognormal, Uniform, Zipf
from servetwin.workload.presets import PRESETS, preset_info
from servetwin.workload.rates import Bursts, Diurnal, Drift, Flat, Shape
from servetwin.workload.reading import read
from servetwin.workload.transform import at_rate

__all__ = [
    "ARRIVAL_WORDS",
    "LENGTH_WORDS",
    "parse_arrivals",
    "parse_duration",
    "parse_lengths",
    "parse_think",
]

LENGTH_WORDS = {
    "fixed": "fixed:512, or just 512",
    "uniform": "uniform:100..2000, or just 100..2000",
    "zipf": "zipf:1.2,max=8192",
    "lognormal": "lognormal:mean=1024,p90=2000,max=8192",
}
"""Known length distributions, each with an example."""

ARRIVAL_WORDS = {
    "poisson": "poisson",
    "constant": "constant",
    "gamma": "gamma:cv=2",
    "once": "once",
    "closed": "closed:concurrency=32,think=1s",
    "bursts": "bursts:factor=10,on=5s,off=55s",
    "diurnal": "diurnal:period=24h,amplitude=0.5",
    "drift": "drift:sd=0.2,hold=300s",
    "trace": "trace:FILE",
}
"""Known arrival processes, each with an example."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_lengths(text: str) -> Lengths:
    """Read a length distribution such as `512`, `100..2000` or `zipf:1.2,max=8192`.

    `azure-conv.input` is the input column of that preset. Raises InputError.
    """
    text = text.strip()
    column = re.fullmatch(r"(.+)\.(input|output)", text)
    if column:
        info = preset_info(column[1])
        return info.input if column[2] == "input" else info.output
    if ":" not in text and ".." in text:
        text = f"uniform:{text}"
    if re.fullmatch(r"[-+]?\d+", text):
        text = f"fixed:{text}"
    settings = _Settings(text, LENGTH_WORDS, [f"{name}.input" for name in PRESETS])
    readers: dict[str, Callable[[_Settings], Lengths]] = {
        "fixed": lambda s: Fixed(s.whole("tokens")),
        "uniform": _uniform,
        "zipf": lambda s: Zipf(s.number("exponent"), s.whole("max"), s.whole("min", 1)),
        "lognormal": _lognormal,
    }
    lengths = readers[settings.word](settings)
    settings.all_read()
    return lengths


def parse_arrivals(text: str, rps: float | None = None) -> Arrivals:
    """Read an arrival process such as `poisson` or `gamma:cv=2`, at `rps` requests a second.

    Raises InputError, also where the process needs a rate and none is given, or has none and
    one is given.
    """
    word, _, file = text.strip().partition(":")
    if word.strip().casefold() == "trace":
        if not file.strip():
            raise InputError(f"{text!r} lacks its file: write {ARRIVAL_WORDS['trace']}")
        # A path may contain anything, so it is not split into settings.
        trace = read(file.strip())
        return Replay(trace if rps is None else at_rate(trace, rps))
    settings = _Settings(text.strip(), ARRIVAL_WORDS)
    arrivals: Arrivals
    if settings.word in ("once", "closed"):
        if rps is not None:
            raise InputError(f"arrivals {text!r} have no rate of their own: leave --rps away")
        arrivals = AtOnce() if settings.word == "once" else _closed(settings)
    else:
        if rps is None:
            raise InputError(f"arrivals {text!r} need a rate: give --rps")
        arrivals = OpenLoop(rps, GammaGaps(_cv(settings)), _shape(settings))
    settings.all_read()
    return arrivals


def parse_duration(text: str) -> float:
    """Read `250ms`, `1.5s`, `24h` or plain seconds. Raises InputError."""
    match = re.fullmatch(r"([0-9.eE+-]+?)\s*([a-z]*)", text.strip())
    factor = _UNITS.get(match[2] or "s") if match else None
    if match is None or factor is None:
        raise InputError(f"{text!r} is not a duration: write 250ms, 1.5s, 2m or 24h")
    return _float(match[1], f"duration {text!r}") * factor


def parse_think(text: str) -> Think:
    """Read a pause of a user: `5s`, or `exp(5s)` for one drawn with that mean."""
    drawn = re.fullmatch(r"exp\((.*)\)", text.strip())
    return Think(parse_duration(drawn[1] if drawn else text), exponential=drawn is not None)


class _Settings:
    """The word and the settings of one text; each setting is taken out once."""

    def __init__(self, text: str, words: dict[str, str], others: Iterable[str] = ()) -> None:
        self.text = text
        word, _, rest = text.partition(":")
        self.word = word.strip().casefold()
        if self.word not in words:
            hint = nearest(self.word, [*words, *others]) or f"known are {', '.join(words)}"
            raise InputError(f"{text!r} is not understood: {hint}")
        self.example = words[self.word]
        self._known: list[str] = []
        self._left: dict[str, str] = {}
        for position, item in enumerate(rest.split(",") if rest.strip() else ()):
            key, equals, value = item.partition("=")
            # The first setting may come without its name: zipf:1.2
            name = key.strip().casefold() if equals else ""
            if (not name and position > 0) or name in self._left:
                raise InputError(f"{text!r}: {item.strip()!r} is misplaced; write {self.example}")
            self._left[name] = (value if equals else key).strip()

    def take(self, *names: str) -> str | None:
        """Remove and return a setting known by any of `names`, or None."""
        self._known.extend(name for name in names if name)
        for name in names:
            if name in self._left:
                return self._left.pop(name)
        return None

    def number(self, name: str, default: float | None = None) -> float:
        found = self.take(name, "") if default is None else self.take(name)
        if found is not None:
            return _float(found, f"{self.text!r}: {name}")
        if default is None:
            raise InputError(f"{self.text!r} lacks {name}: write {self.example}")
        return default

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value != math.floor(value):
            raise InputError(f"{self.text!r}: {name} must be a whole number, not {value:g}")
        return int(value)

    def seconds(self, name: str, default: float | None = None) -> float:
        found = self.take(name)
        if found is not None:
            return parse_duration(found)
        if default is None:
            raise InputError(f"{self.text!r} lacks {name}: write {self.example}")
        return default

    def all_read(self) -> None:
        """Raise InputError for a setting that nobody took."""
        for name, value in self._left.items():
            hint = nearest(name, self._known) or f"write {self.example}"
            raise InputError(f"{self.text!r}: unknown setting {name or value!r}; {hint}")


def _uniform(settings: _Settings) -> Uniform:
    bounds = settings.take("")
    if bounds is None:
        return Uniform(settings.whole("min"), settings.whole("max"))
    match = re.fullmatch(r"(\d+)\s*\.\.\s*(\d+)", bounds)
    if match is None:
        raise InputError(f"{settings.text!r}: {bounds!r} is not a range; write {settings.example}")
    return Uniform(int(match[1]), int(match[2]))


def _lognormal(settings: _Settings) -> Lognormal:
    given = {
        name: _float(found, f"{settings.text!r}: {name}")
        for name in ("mean", "median", "sigma", "p90")
        if (found := settings.take(name)) is not None
    }
    low, high = settings.whole("min", 1), settings.whole("max", 100_000_000)
    match sorted(given):
        case ["mean", "p90"]:
            return Lognormal.from_mean_p90(given["mean"], given["p90"], low, high)
        case ["mean", "sigma"]:
            return Lognormal.from_mean(given["mean"], given["sigma"], low, high)
        case ["median", "p90"]:
            return Lognormal.from_median_p90(given["median"], given["p90"], low, high)
        case ["median", "sigma"]:
            return Lognormal(given["median"], given["sigma"], low, high)
    raise InputError(
        f"{settings.text!r}: a lognormal needs mean or median, and sigma or p90;"
        f" write {settings.example}"
    )


def _closed(settings: _Settings) -> ClosedLoop:
    think = parse_think(settings.take("think") or "0s")
    return ClosedLoop(settings.whole("concurrency"), think)


def _cv(settings: _Settings) -> float:
    if settings.word == "gamma":
        return settings.number("cv")
    if settings.word in ("poisson", "constant"):
        return 1.0 if settings.word == "poisson" else 0.0
    return settings.number("cv", 1.0)


def _shape(settings: _Settings) -> Shape:
    match settings.word:
        case "bursts":
            on, off = settings.seconds("on"), settings.seconds("off")
            return Bursts(settings.number("factor"), on, off)
        case "diurnal":
            return Diurnal(settings.seconds("period", 86_400.0), settings.number("amplitude", 0.5))
        case "drift":
            return Drift(settings.number("sd"), settings.seconds("hold"))
    return Flat()


def _float(text: str, what: str) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what}: {text!r} is not a number")
    return value
