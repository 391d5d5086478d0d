"""A folder of outputs that appear together or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

from servetwin.errors import InputError

__all__ = [
    "check_targets",
    "reason_of",
    "replace_file",
    "write_together",
    "writing_to",
    "written_to",
]

PARTIAL = ".servetwin-partial"
"""Folder, inside the output folder, where files lie until all are complete."""

FORMER = "former"
"""Folder, inside that one, for what is replaced until all is in place."""

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would exceed the largest size allowed here (see ulimit -f)",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.EROFS: "it lies on a read-only file system",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "it is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
}

Writer = Callable[[Path], object]


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn an OSError within the block into an InputError that names `target`."""
    try:
        yield
    except OSError as error:
        message = (
            f"cannot write to '{target}': {reason_of(error)}; choose another place or make room"
        )
        raise InputError(message) from error


def reason_of(error: OSError) -> str:
    """Say why something could not be written."""
    return REASONS.get(error.errno or 0) or error.strerror or str(error)


def replace_file(target: Path, write: Writer) -> None:
    """Call `write` with a temporary path beside `target`, then rename it to `target`.

    The temporary name keeps the suffix. On any failure it is removed and `target` is left
    as it was; an OSError becomes an InputError.
    """
    partial = target.with_name(f"{PARTIAL}-{target.name}")
    with writing_to(target):
        try:
            write(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def check_targets(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError where a file of one of these names could not be put into `folder`."""
    for target in (folder / name for name in names):
        if target.is_dir():
            raise InputError(
                f"cannot write to '{target}': {REASONS[errno.EISDIR]}; remove it or choose "
                "another place"
            )


def write_together(folder: Path, writers: Mapping[str, Writer], stale: tuple[str, ...]) -> None:
    """Write the files `writers` names into `folder`, then rename them all into place.

    The last of `writers` marks the run as complete: its former version is removed before
    any other file is replaced, and it is put in place last. If there was one, the files
    named in `stale` are those of an earlier run, and are removed; without it they belong
    to somebody else, and stay. On any failure, Ctrl-C included, the folder is left as it
    was, folders made for it are removed; an OSError becomes an InputError.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    partial = folder / PARTIAL
    with writing_to(folder):
        try:
            check_targets(folder, writers)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for name, write in writers.items():
                write(partial / name)
            _exchange(folder, partial, list(writers), stale)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _remove_empty(made)


def written_to(folder: Path, names: Iterable[str]) -> str:
    """Say what was written, in lines of 80 columns; no name is broken."""
    line = f"Written to {folder}/: {', '.join(names)}"
    return "\n".join(wrap(line, 80, break_on_hyphens=False, break_long_words=False))


def _exchange(folder: Path, partial: Path, names: list[str], stale: tuple[str, ...]) -> None:
    """Put the files `names` of `partial` in the place of former ones, all or none of them."""
    former = partial / FORMER
    former.mkdir()
    mark = names[-1]
    replaced = [mark, *names[:-1], *(stale if (folder / mark).exists() else ())]
    try:
        for name in replaced:
            if (folder / name).is_file():
                (folder / name).replace(former / name)
        for name in names:
            (partial / name).replace(folder / name)
    except BaseException:
        for name in names:
            if not (partial / name).exists():
                (folder / name).unlink(missing_ok=True)
        for kept in former.iterdir():
            kept.replace(folder / kept.name)
        raise


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of `folders`, innermost first, that are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
