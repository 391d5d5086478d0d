"""Per-request mode: the time of each request by formula, as if it were alone."""

from servetwin.sim.closed_form.checks import token_column
from servetwin.sim.closed_form.correction import (
    Correction,
    apply_correction,
    corrections,
    find_correction,
)
from servetwin.sim.closed_form.fragments import FragmentBatch, FragmentPlan, plan_fragments
from servetwin.sim.closed_form.kavier import Kavier
from servetwin.sim.closed_form.library import (
    KavierGpu,
    KavierModel,
    find_kavier_gpu,
    find_kavier_model,
    kavier_gpus,
    kavier_models,
)
from servetwin.sim.closed_form.model import ClosedForm, Device, Phases, Requests
from servetwin.sim.closed_form.opendc import Exported, ExportOptions, TaskTimes, write_opendc
from servetwin.sim.closed_form.running import (
    ClosedFormOptions,
    ClosedFormResult,
    run_closed_form,
)
from servetwin.sim.closed_form.servetwin import Servetwin
from servetwin.sim.closed_form.timeline import RequestTimeline, request_timeline

__all__ = [
    "ClosedForm",
    "ClosedFormOptions",
    "ClosedFormResult",
    "Correction",
    "Device",
    "ExportOptions",
    "Exported",
    "FragmentBatch",
    "FragmentPlan",
    "Kavier",
    "KavierGpu",
    "KavierModel",
    "Phases",
    "RequestTimeline",
    "Requests",
    "Servetwin",
    "TaskTimes",
    "apply_correction",
    "corrections",
    "find_correction",
    "find_kavier_gpu",
    "find_kavier_model",
    "kavier_gpus",
    "kavier_models",
    "plan_fragments",
    "request_timeline",
    "run_closed_form",
    "token_column",
    "write_opendc",
]
