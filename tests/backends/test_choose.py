import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.backends.agreement import Agreement
from medseg.backends.choose import FEW_WINDOWS, pick, worth_trying
from medseg.backends.trials import Trial

SAME = Agreement(1.0, 0.0)
seconds = st.floats(1e-4, 1e3)


def trial(start_s: float, window_s: float) -> Trial:
    return Trial(start_s, window_s, SAME)


def test_few_windows_are_eagers_and_many_the_fast_ones():
    """Eager 0.4 s a window, OpenVINO 0.2 s after 10 s: the same after 50 windows, a tenth less after 63."""
    found = {"eager": trial(0.4, 0.4), "openvino": trial(10.0, 0.2)}
    assert [pick(n, found, ("openvino",)) for n in (1, 50, 60, 70, 1000)] == ["eager"] * 3 + ["openvino"] * 2


def test_the_least_time_wins_among_several():
    found = {"eager": trial(1, 1), "openvino": trial(10, 0.5), "compile": trial(200, 0.2)}
    assert pick(100, found, ("openvino", "compile")) == "openvino"
    assert pick(10_000, found, ("openvino", "compile")) == "compile"


def test_one_with_a_gap_is_never_picked():
    found = {"eager": trial(1, 1), "openvino": Trial(gap="does not agree")}
    assert pick(10**9, found, ("openvino",)) == "eager"


@given(seconds, st.sampled_from(["cpu", "cuda", "mps"]))
def test_few_windows_try_nothing(eager_s, device):
    assert worth_trying(FEW_WINDOWS, eager_s, device) == ()


@given(st.integers(1, 10**6), st.integers(1, 10**6), seconds)
def test_more_windows_try_no_less(few, many, eager_s):
    few, many = sorted((few, many))
    assert set(worth_trying(few, eager_s, "cpu")) <= set(worth_trying(many, eager_s, "cpu"))


@given(st.integers(1, 10**6), seconds, seconds, seconds)
def test_a_pick_is_never_slower_than_eager(windows, eager_s, start_s, window_s):
    found = {"eager": trial(eager_s, eager_s), "openvino": trial(start_s, window_s)}
    picked = pick(windows, found, ("openvino",))
    assert found[picked].total_s(windows) <= found["eager"].total_s(windows)


@pytest.mark.parametrize(("device", "names"), [("cpu", ("openvino", "onnxruntime", "compile")), ("cuda", ("compile",))])
def test_each_device_has_its_own(device, names):
    assert worth_trying(10**6, 1.0, device) == names
    assert worth_trying(10**6, 1.0, "mps") == ()
