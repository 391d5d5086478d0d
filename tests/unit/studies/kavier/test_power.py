"""Energy of closed-form runs, and Kavier's efficiency from OpenDC's files."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servetwin.cost.energy import (
    HourlySeries,
    Rates,
    Work,
    default_meta_model,
    device_power,
    read_power_source,
    utilization,
)
from servetwin.errors import InputError
from servetwin.sim.closed_form import ClosedFormResult, Servetwin, run_closed_form
from servetwin.studies.kavier.opendc_post import post_process, write_power
from servetwin.studies.kavier.power import energy_gpu, run_energy
from servetwin.studies.kavier.running import Job, closed_form, run_one
from servetwin.studies.kavier.settings import KavierRun
from servetwin.types import Workload

RUN = KavierRun("Llama-3-8B", "A10", "")


def workload(requests: int = 20) -> Workload:
    return Workload(
        arrival=np.zeros(requests, np.int64),
        input_tokens=np.full(requests, 1000, np.int32),
        output_tokens=np.full(requests, 200, np.int32),
    )


def result(model: str = "kavier") -> ClosedFormResult:
    run = KavierRun("Llama-3-8B", "A10", "", model=model)
    return run_closed_form(workload(), closed_form(run))


def test_energy_is_watts_of_the_published_steps_times_seconds() -> None:
    ran, gpu = result(), energy_gpu("A10", "kavier")
    energy = run_energy(ran, gpu, Rates(carbon=100.0, gpu_price=3.6, pue=1.5))
    device = device_power(gpu)
    edge, steady = (
        default_meta_model().predict(np.array([0.5, 0.95]), device.idle, device.maximum).watts
    )
    expected = 20 * 0.4 * edge + (ran.simulated_s - 20 * 0.4) * steady
    assert energy.joules == pytest.approx(expected, rel=1e-9)
    footprint = energy.footprint
    assert footprint.wh == pytest.approx(1.5 * expected / 3600)
    assert footprint.carbon_g == pytest.approx(footprint.wh / 1000 * 100)
    assert footprint.usd == pytest.approx(ran.simulated_s / 1000)
    models = energy.joules_by_model.values()
    assert len(models) == 8
    assert min(models) <= energy.joules <= max(models)


def test_an_hourly_rate_starts_with_the_first_request() -> None:
    ran, gpu = result(), energy_gpu("A10", "kavier")
    early = HourlySeries((0.0, 1.0), (100.0, 900.0))
    hourly = run_energy(ran, gpu, Rates(carbon=early)).footprint.carbon_g
    constant = run_energy(ran, gpu, Rates(carbon=100.0)).footprint.carbon_g
    assert ran.simulated_s < 3600
    assert hourly == pytest.approx(constant)


def test_our_formulas_draw_what_compute_and_memory_say() -> None:
    """As in the experiments: prefill and decode by both utilisations, not the larger alone."""
    ran, gpu = result("servetwin"), energy_gpu("A10", "servetwin")
    form, device = ran.model, device_power(gpu)
    assert isinstance(form, Servetwin)
    prefill, decode = (column[:1] * 1e-12 for column in (ran.requests.prefill, ran.requests.decode))
    none, one = np.zeros(1), np.ones(1)
    context = 199 * 1000 + 199 * 200 / 2
    works = (
        Work(prefill, one, none, 1000 * one, none, 1000 * 1001 / 2 * one, one),
        Work(decode, 199 * one, 199 * one, none, context * one, none, none),
    )
    expected = 0.0
    for work in works:
        used = utilization(form.deployment, work)
        assert (used.compute > 0) & (used.memory > 0)
        load = device.curve.load(used)
        watts = default_meta_model().predict(load, device.idle, device.maximum).watts
        expected += 20 * float(watts @ work.seconds)
    assert run_energy(ran, gpu, Rates()).joules == pytest.approx(expected)


def test_the_published_a100_draws_what_its_card_draws() -> None:
    assert energy_gpu("A100-80GB", "kavier").name == "A100-80GB-PCIe"
    assert energy_gpu("A100-80GB", "servetwin").name == "A100-80GB"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    run_one(RUN, workload(), Job(Rates(), tmp_path))
    return tmp_path / "tasks.parquet"


def test_efficiency_by_hand(exported: Path) -> None:
    power = exported.with_name("powerSource.parquet")
    table = {"energy_usage": [3600.0, 7200.0], "carbon_emission": [1.0, 2.0]}
    pq.write_table(pa.table(table), power)
    found = post_process(exported, str(power), Rates(gpu_price=10.0)).describe()
    seconds = result().simulated_s
    assert found["tokens"] == 20 * 1200
    assert found["energy_wh"] == pytest.approx(3.0)
    assert found["carbon_g"] == pytest.approx(3.0)
    assert found["wh_per_million_tokens"] == pytest.approx(3.0 / 24_000 * 1e6)
    # Durations are whole milliseconds.
    assert found["gpu_hours"] == pytest.approx(seconds / 3600, rel=1e-3)
    assert found["cost"] == pytest.approx(10 * found["gpu_hours"])
    assert found["price_per_million_tokens"] == pytest.approx(found["cost"] / 24_000 * 1e6)


def test_generated_power_is_that_of_the_run_and_can_be_read_again(exported: Path) -> None:
    rates = Rates(carbon=250.0)
    found = post_process(exported, "generated", rates)
    direct = run_energy(result(), energy_gpu("A10", "kavier"), rates)
    # Fragments of 0.1 s put edges of 0.2 s where they are.
    assert found.source.joules == pytest.approx(direct.joules, rel=0.01)
    assert found.source.carbon_g == pytest.approx(direct.footprint.carbon_g, rel=0.01)
    power = exported.with_name("again.parquet")
    write_power(power, found)
    assert read_power_source(power).joules == pytest.approx(found.source.joules)


def test_without_an_intensity_carbon_is_unknown(exported: Path) -> None:
    found = post_process(exported, "generated", Rates())
    assert found.describe()["carbon_g"] is None
    assert "no carbon: give --carbon, gCO2e/kWh" in found.notes
    power = exported.with_name("again.parquet")
    write_power(power, found)
    again = post_process(exported, str(power), Rates())
    assert again.describe()["carbon_g_per_million_tokens"] is None
    assert again.describe()["energy_wh"] == pytest.approx(found.describe()["energy_wh"])
    assert again.notes == (f"no carbon: '{power}' states none",)


def test_a_missing_power_source_is_generated_and_said(exported: Path) -> None:
    found = post_process(exported, "nowhere/powerSource.parquet", Rates())
    assert "does not exist" in found.notes[0]
    with pytest.raises(InputError, match="no such file; 'generated' stands for power of our own"):
        post_process(exported, "nowhere/other.parquet", Rates())


def test_power_follows_the_hours(exported: Path) -> None:
    rows = 4
    table = {"duration": [1_800_000] * rows, "gpu_usage": [9216.0 * 1695] * rows}
    pq.write_table(pa.table(table), exported.with_name("fragments.parquet"))
    found = post_process(exported, "generated", Rates(carbon=HourlySeries((0.0, 1.0), (0.0, 1e3))))
    assert found.hourly is not None
    joules, grams = found.hourly
    assert joules[0] == pytest.approx(joules[1])
    assert grams[0] == 0.0
    assert grams[1] == pytest.approx(joules[1] / 3600)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"duration": [1.0]}, "no column total_tokens"),
        ({"duration": [5, -1.0], "total_tokens": [5, 5]}, "row 1: -1, expected a number from 0"),
        ({"duration": [float("nan")], "total_tokens": [5]}, "row 0: nan, expected a number"),
        ({"duration": [1e300], "total_tokens": [5]}, "row 0: 1e[+]300, expected a number"),
        ({"duration": ["x"], "total_tokens": [5]}, "column duration: string, expected numbers"),
        ({"duration": [[1]], "total_tokens": [5]}, "expected numbers"),
        ({"duration": [1], "total_tokens": [5], "gpu_capacity": ["x"]}, "gpu_capacity: string"),
        ({"duration": [1], "total_tokens": [5], "mem_capacity": [float("nan")]}, "mem_capacity"),
        (
            {"duration": [1], "total_tokens": [5], "gpu_capacity": pa.array([None], pa.float64())},
            "give --gpu",
        ),
        ({"duration": [0], "total_tokens": [0]}, "no tasks"),
    ],
)
def test_tasks_that_are_wrong(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    path = tmp_path / "tasks.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=message):
        post_process(path, "generated", Rates())


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "tasks.parquet"
    path.write_text("id,duration\n")
    with pytest.raises(InputError, match="is not a Parquet file; expected Kavier"):
        post_process(path, "generated", Rates())


@pytest.mark.parametrize("name", ["tasks.parquet", "fragments.parquet"])
def test_a_file_that_is_damaged_inside(exported: Path, name: str) -> None:
    """Its footer can be read, its pages cannot."""
    path = exported.with_name(name)
    content = bytearray(path.read_bytes())
    content[4:150] = b"\xff" * 146
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable Parquet file"):
        post_process(exported, "generated", Rates())


def test_tasks_of_an_unknown_gpu_need_its_name(exported: Path) -> None:
    table = pq.read_table(exported).to_pydict()
    table["gpu_capacity"] = [1e9] * len(table["id"])
    pq.write_table(pa.table(table), exported)
    with pytest.raises(InputError, match="give --gpu"):
        post_process(exported, "generated", Rates())
    assert post_process(exported, "generated", Rates(), gpu="L4").source.joules > 0
