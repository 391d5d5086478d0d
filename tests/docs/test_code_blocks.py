"""Every ```bash and ```python block of the documentation runs, in order, page by page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])

BLOCK = re.compile(
    r"(?P<skip><!-- not run: .+ -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$",
    re.M | re.S,
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and code of each block that is not marked `<!-- not run: why -->`."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(item["language"], item["code"]) for item in found if not item["skip"]]


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for language, code in blocks(page):
        script = (
            ["bash", "-euo", "pipefail", "-c"] if language == "bash" else [sys.executable, "-c"]
        )
        done = subprocess.run(
            [*script, code],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = [item["target"] for item in LINK.finditer(page.read_text(encoding="utf-8"))]
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [target for target in local if target and not (page.parent / target).exists()] == []


def test_the_reference_of_settings_is_that_of_the_program() -> None:
    command = [sys.executable, str(REPOSITORY / "tools" / "settings_table.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("example", sorted((REPOSITORY / "examples").glob("*.*")), ids=name)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    if example.suffix == ".md":
        return
    if example.suffix == ".py":
        command = [sys.executable, str(example)]
    else:
        program = shutil.which("servetwin", path=str(Path(sys.executable).parent))
        assert program is not None
        command = [program, "simulate", "--config", str(example), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
