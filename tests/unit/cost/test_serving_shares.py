"""What was fitted to serving runs: shares of a family of chips, hosts, and fits without a model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servetwin.cost.curves import curves_for, curves_from, read_curves, read_serving


@pytest.mark.parametrize("name", ["B200", "B300", "GB200", "GB300"])
def test_blackwell_reaches_a_share_of_what_timed_chips_reach(name: str) -> None:
    share = read_serving()["compute"]["Blackwell"]["share"]
    unfitted, fitted = curves_from(read_curves(), name, {}), curves_for(name)
    assert 0 < share < 1
    for part in ("gemm", "gemm_fp8", "prefill"):
        ours, theirs = getattr(fitted, part), getattr(unfitted, part)
        assert ours.compute == pytest.approx(share * theirs.compute)
    assert fitted.decode == unfitted.decode
    assert fitted.gemm.memory == unfitted.gemm.memory


@pytest.mark.parametrize("name", ["H100-SXM", "A100-80GB", "RTX-5090", "MI300X"])
def test_other_chips_are_as_kernel_timings_say(name: str) -> None:
    fitted = curves_for(name)
    assert replace(fitted, host=replace(fitted.host, operation_us=0.0)) == curves_from(
        read_curves(), name, {}
    )


def test_each_engine_has_a_host_of_its_own() -> None:
    operations = read_serving()["operation_us"]
    assert set(operations) == {"vLLM", "SGLang", "TRT-LLM"}
    for engine, us in operations.items():
        assert curves_for("H100-SXM", engine).host.operation_us == us
    assert curves_for("H100-SXM").host.operation_us == operations["vLLM"]
    assert curves_for("H100-SXM", "another").host.operation_us == operations["vLLM"]
    assert curves_for("H100-SXM", "").host.operation_us == 0.0


def test_fits_without_a_model_are_packaged_for_each_model_fitted_to() -> None:
    without = read_serving()["without"]
    assert set(without) == {
        "meta-llama/Llama-3.1-70B",
        "openai/gpt-oss-120b",
        "deepseek-ai/DeepSeek-R1",
    }
    for table in without.values():
        assert 0 < table["compute"]["Blackwell"]["share"] <= 1
        assert table["frontend"]["request_us"] > 0
    assert "SGLang" not in without["deepseek-ai/DeepSeek-R1"]["operation_us"]
