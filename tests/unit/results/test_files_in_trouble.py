"""Writing a run that fails, or is interrupted, leaves what was there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from servetwin.errors import InputError
from servetwin.results import write_run
from support.runs import Shape, synthetic_run


def failing(error: BaseException) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    return write


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug"), OSError(28, "full")])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    write_run(synthetic_run(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    expected = InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_run(synthetic_run(Shape(seed=1)), tmp_path, extra={"report.html": failing(error)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full")])
@pytest.mark.parametrize("nth", range(7))
def test_a_failure_while_files_change_places_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, nth: int
) -> None:
    """Seven renames: four former files aside (one of them stale), three new ones in."""
    write_run(synthetic_run(), tmp_path, extra={"report.html": lambda path: path.write_text("1")})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 4
    rename, count = Path.replace, iter(range(100))

    def fail_once(self: Path, target: Path) -> Path:
        if next(count) == nth:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_run(synthetic_run(Shape(seed=1)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_the_place_of_a_file_is_told_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(InputError, match=r"summary\.json': it is a folder") as error:
        write_run(synthetic_run(), tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_folders_made_in_vain_are_removed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the disk is full"):
        write_run(
            synthetic_run(),
            tmp_path / "a" / "b",
            extra={"report.html": failing(OSError(28, "No space left on device"))},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_run_cut_short_by_a_crash_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".servetwin-partial"
    left.mkdir()
    (left / "requests.parquet").write_text("half")
    write_run(synthetic_run(timeline=None), tmp_path)
    assert not left.exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for target in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(InputError, match=r"it is a file|a part of the path is a file") as error:
            write_run(synthetic_run(), target)
        assert "\n" not in str(error.value)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not permitted"):
        write_run(synthetic_run(), tmp_path / "out")


WRITE_LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.runs import Shape, synthetic_run
from servetwin.errors import InputError
from servetwin.results import write_run
run = synthetic_run(Shape(requests=3000), config={"model": "m" * int(sys.argv[4])})
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    write_run(run, Path(sys.argv[2]), chrome_trace=True)
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize(("limit", "model"), [(4096, 1), (100_000, 1), (400_000, 500_000)], ids=str)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, limit: int, model: int) -> None:
    """The limit stops, in turn, the Parquet file, the trace, and a summary with a huge name."""
    tests = Path(__file__).parents[2]
    arguments = [str(tests), str(tmp_path / "out"), str(limit), str(model)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRITE_LIMITED, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""
    assert "largest size allowed" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_this_process_gets_an_error_not_a_signal_at_the_size_limit() -> None:
    import signal

    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
