"""What was fitted to serving runs: the share of a family of chips, and fits without a model."""

from __future__ import annotations

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
    assert curves_for(name) == curves_from(read_curves(), name, {})


def test_fits_without_a_model_are_packaged_for_each_model_fitted_to() -> None:
    without = read_serving()["without"]
    assert set(without) == {"meta-llama/Llama-3.1-70B", "openai/gpt-oss-120b"}
    for table in without.values():
        assert 0 < table["compute"]["Blackwell"]["share"] < 1
