"""Every study can be found, and listing them costs nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from servetwin.studies.registry import STUDIES


@pytest.mark.parametrize("name", list(STUDIES))
def test_a_study_has_a_program(name: str) -> None:
    study = STUDIES[name]
    assert hasattr(importlib.import_module(f"servetwin.{study.room}.{study.module}"), "app")
    assert len(study.help) <= 60
    assert "\n" not in study.help


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from servetwin.cli import main\n"
        "try: main(['study', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('numpy', 'numba', 'pyarrow', 'altair', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
