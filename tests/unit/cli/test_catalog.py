"""What `servetwin catalog` prints."""

import json
import shutil
from pathlib import Path

import pytest

from servetwin.cli.catalog import app
from servetwin.errors import InputError

CONFIG = Path(__file__).parents[1] / "catalog" / "configs" / "Qwen__Qwen3-30B-A3B.json"


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    app(list(args), standalone_mode=False)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("what", ["models", "gpus", "links"])
def test_every_list_fits_80_columns(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, what).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line[0] not in " " for line in lines), "a name was broken over two lines"


def test_gpus_show_prices_and_the_16_bits_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    head, h100 = printed(capsys, "gpus", "h100-sxm").splitlines()
    price = head.split().index("$/h") - head.split().index("bit")
    assert h100.split()[price + 1] == "3.99"
    assert " 125 " in printed(capsys, "gpus", "V100-SXM2-32GB")
    assert " - NVLink2" in printed(capsys, "gpus", "V100-SXM2-32GB")


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_config_json_shows_what_is_derived_from_it(
    as_folder: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(CONFIG, tmp_path / "config.json")
    path = tmp_path if as_folder else tmp_path / "config.json"
    row = printed(capsys, "models", str(path)).splitlines()[1:]
    assert " 30.5 3.35 128 full " in " ".join(" ".join(row).split()) + " "
    (item,) = json.loads(printed(capsys, "models", "--json", str(path)))
    assert item["parameters"] == 30_532_122_624
    assert item["active_parameters"] == 3_353_032_704


def test_a_config_json_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"cannot read 'none\.json'"):
        app(["models", "none.json"], standalone_mode=False)
