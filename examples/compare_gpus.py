"""The same traffic on several GPUs, with servetwin as a library."""

from servetwin.catalog import find_accelerator, find_link, find_model
from servetwin.cost import derive, lower_max_model_len, resolve_settings
from servetwin.results import summary
from servetwin.sim import simulate
from servetwin.types import Deployment
from servetwin.workload import generate, preset

model = find_model("meta-llama/Llama-3.1-8B")
workload = generate(preset("azure-conv", requests=1000, rps=3.0, seed=1))

print(f"{'GPU':<14} {'P99 TTFT ms':>12} {'P99 TPOT ms':>12}")
for name in ("L40S", "A100-80GB", "H100-SXM"):
    gpu = find_accelerator(name)
    deployment = Deployment(model, gpu, find_link(gpu.link), settings=resolve_settings(model, gpu))
    # A GPU with little memory holds no sequence of the model's full length.
    deployment, _ = lower_max_model_len(deployment)
    run = simulate(deployment, workload, derive(deployment, typical_context=1300))
    metrics = summary(run)["metrics"]
    print(f"{name:<14} {metrics['ttft_ms']['p99']:>12.0f} {metrics['tpot_ms']['p99']:>12.1f}")
