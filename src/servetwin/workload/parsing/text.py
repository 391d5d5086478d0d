"""Lines of a text file, with bounded memory and exact complaints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from servetwin.errors import InputError

__all__ = [
    "MAX_LINE_BYTES",
    "check_file",
    "is_folder",
    "shown",
    "text_lines",
    "trace_files",
    "unreadable",
    "whole_text",
]

MAX_LINE_BYTES = 32 << 20
"""A request with a million token ids in its line stays below this."""

MAX_DOCUMENT_BYTES = 256 << 20
"""Most bytes of a JSON document, which has to be held in memory as a whole."""

_BOM = b"\xef\xbb\xbf"


def shown(value: object) -> str:
    """Quote a value of the file for a message: one line, at most 40 characters of it."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    text = value if isinstance(value, str) else str(value)
    if len(text) > 40:
        text = text[:40] + "…"
    return repr(text) if isinstance(value, str) else text


def check_file(path: Path) -> None:
    """Raise InputError unless `path` is a file that is there and not empty."""
    status = _status(path)
    if S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; a trace file is needed")
    if not S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise InputError(f"{path}: the file is empty")


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; raises InputError where nothing is there."""
    return S_ISDIR(_status(path).st_mode)


def trace_files(path: Path) -> list[Path]:
    """Return the `*.json` of a folder in order of name, or the file itself."""
    if not is_folder(path):
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == ".json")
    except OSError as error:
        raise unreadable(path, error) from None
    if not files:
        raise InputError(f"{path}: the folder has no .json files")
    return files


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the exception for a file or folder that the system refuses to read."""
    return InputError(f"{path}: cannot be read ({error.strerror or error})")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its end), decoded as UTF-8.

    Raises InputError for a binary file, other encodings, and lines above MAX_LINE_BYTES.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    raw = raw.removeprefix(_BOM)
                yield number, _decoded(path, number, raw)
    except OSError as error:
        raise unreadable(path, error) from None


def whole_text(path: Path) -> str:
    """Return the file as text; raises InputError as `text_lines` does."""
    check_file(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        limit = MAX_DOCUMENT_BYTES >> 20
        raise InputError(f"{path}: larger than {limit} MiB; a JSON document is read as a whole")
    return _decoded(path, None, raw.removeprefix(_BOM))


def _decoded(path: Path, number: int | None, raw: bytes) -> str:
    """Return the text of a line, or of the whole file where `number` is None."""
    if number and len(raw) > MAX_LINE_BYTES:
        problem = f"the line is longer than {MAX_LINE_BYTES >> 20} MiB"
    elif b"\x00" in raw:
        problem = "binary data; a trace is UTF-8 text or Parquet"
    else:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            problem = f"byte {error.start + 1} is not UTF-8; save the trace as UTF-8"
    raise InputError(f"{path}:{number}: {problem}" if number else f"{path}: {problem}")
