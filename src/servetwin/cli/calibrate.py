"""`servetwin calibrate`: measure this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servetwin.cli.console import progress, stdout, tell
from servetwin.cli.interrupts import INTERRUPTED, at_once
from servetwin.cli.options import PanelCommand
from servetwin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servetwin.calibrate.profiler import Backend, Plan, Profile

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback(epilog="servetwin calibrate COMMAND --help explains a command.")
def _root(context: typer.Context) -> None:
    """Measure this machine."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command(cls=PanelCommand)
def profile(
    model: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Catalog name or path to a config.json.")
    ],
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="What PyTorch runs on.")],
    dtype: Annotated[
        str, typer.Option(metavar="NAME", help="bf16, fp16 or fp32.", show_default=True)
    ] = "bf16",
    tp: Annotated[int, typer.Option(metavar="N", help="Degree of tensor parallelism.")] = 1,
    gpu: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Catalog name of the device; else that of its driver."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads on a CPU; else as PyTorch chooses.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where timings go. [default: from the names]")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes, under a minute.")] = False,
) -> None:
    """Time the operations of one layer with PyTorch, for `--cost DIR`.

    Weights are random: nothing is downloaded. After Ctrl-C what is finished stays, and the
    same command goes on from there.
    """
    from servetwin.calibrate import profiler
    from servetwin.catalog import find_model

    with at_once():
        shapes = find_model(model)
        backend = profiler.open_backend(device, dtype, threads)
        limits = profiler.Limits(
            backend.free_memory(), backend.is_cuda, quick, collectives=backend.ranks > 1
        )
        plan = profiler.plan_profile(shapes, tp, backend.element, limits)
        meta = profiler.describe(
            hardware=_hardware(backend, gpu),
            model=str(Path(model).resolve()) if Path(model).is_file() else shapes.name,
            dtype=dtype,
            machine=backend.machine(),
        )
        timings = profiler.open_profile(out or _folder(meta), tp, meta)
    effort = profiler.Effort.of(quick)
    try:
        with progress("Timing operations", len(plan.points)) as (done, _):
            profiler.measure(backend, plan, timings, effort, done)
    except KeyboardInterrupt:
        tell(_interrupted(plan, timings))
        raise typer.Exit(INTERRUPTED) from None
    if not backend.rank:
        _report(plan, timings)


def _hardware(backend: Backend, gpu: str | None) -> str:
    """Catalog name under which `simulate --gpu` will find the timings."""
    from servetwin.catalog import find_accelerator

    if gpu is not None:
        return find_accelerator(gpu).name
    try:
        return find_accelerator("CPU" if not backend.is_cuda else backend.device_name()).name
    except InputError as error:
        raise InputError(f"{error}; name it with --gpu") from None


def _folder(meta: Mapping[str, Any]) -> Path:
    """profiles/HARDWARE/MODEL/DTYPE, in the current folder."""
    return Path("profiles", meta["hardware"], Path(meta["model"]).stem, meta["variant"])


def _interrupted(plan: Plan, timings: Profile) -> str:
    there = len(plan.points) - len(timings.missing(plan))
    return (
        f"{there} of {len(plan.points)} timings are in {timings.folder}; the same command goes "
        "on from there"
    )


def _report(plan: Plan, timings: Profile) -> None:
    meta = timings.meta
    console = stdout()
    for key in ("hardware", "device", "driver", "torch"):
        console.print(f"{key:<9} {meta[key]}", markup=False)
    for words in plan.left_out:
        console.print(f"not timed {words}", markup=False)
    console.print(
        f"\n{len(plan.points)} timings written to {timings.folder}/\n"
        f"Use them: servetwin simulate --model {meta['model']} --gpu {meta['hardware']} "
        f"--tp {timings.tp} --quantization {meta['variant']} --cost {timings.folder} ...",
        markup=False,
        soft_wrap=True,
    )
