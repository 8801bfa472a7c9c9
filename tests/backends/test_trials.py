import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.backends.agreement import Agreement, agreement
from medseg.backends.cache import write_entry
from medseg.backends.trials import ENDING, Trial, read_trials, write_trials

KEY = "c" * 64
seconds = st.floats(0, 1e6)
trials = st.one_of(
    st.builds(Trial, seconds, seconds, st.builds(Agreement, st.floats(0, 1), st.floats(0, 10))),
    st.builds(lambda text: Trial(gap=text), st.text(min_size=1)),
)


@given(found=st.dictionaries(st.text(), trials))
def test_trials_come_back(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("cache")
    write_trials(folder, KEY, found)
    assert read_trials(folder, KEY) == found


GOOD = {"start_s": 1.0, "window_s": 0.1, "labels": 1.0, "difference": 0.0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"openvino": []}',
        b'{"openvino": {"gap": 3}}',
        b'{"openvino": {"gap": ""}}',
        json.dumps({"openvino": {**GOOD, "window_s": -1}}).encode(),
        json.dumps({"openvino": {**GOOD, "window_s": "0.1"}}).encode(),
        json.dumps({"openvino": {**GOOD, "window_s": True}}).encode(),
        json.dumps({"openvino": {**GOOD, "window_s": float("nan")}}).encode(),
        json.dumps({"openvino": {**GOOD, "window_s": float("inf")}}).encode(),
        json.dumps({"openvino": {**GOOD, "more": 1}}).encode(),
        json.dumps({"openvino": {"start_s": 1.0}}).encode(),
    ],
)
def test_what_no_trials_are_is_nothing(tmp_path, content):
    write_entry(tmp_path, KEY, ENDING, content)
    assert read_trials(tmp_path, KEY) == {}


def test_agreement_by_hand():
    exact = torch.tensor([[[1.0, -4.0, 2.0, 0.0]], [[0.0, 1.0, 1.0, 3.0]]]).transpose(0, 1)  # (1, 2, 4)
    same = agreement(exact.clone(), exact)
    assert (same.labels, same.difference) == (1.0, 0.0)
    other = exact.clone()
    other[0, 1, 0] = 1.5  # label 0 becomes 1; the greatest logit is 4
    assert agreement(other, exact) == Agreement(0.75, 0.375)
    assert agreement(exact[:, :, :3], exact).labels == 0.0


@pytest.mark.parametrize(
    ("found", "precision", "suffices"),
    [
        (Agreement(1.0, 1e-4), "fp32", True),
        (Agreement(1.0, 1e-2), "fp32", False),
        (Agreement(1.0, 1e-2), "bf16", True),
        (Agreement(0.998, 1e-4), "fp32", False),
        (Agreement(0.998, 1e-2), "bf16", False),
        (Agreement(1.0, float("nan")), "fp32", False),
        (Agreement(float("nan"), 0.0), "bf16", False),
    ],
)
def test_what_suffices(found, precision, suffices):
    assert found.suffices(precision) is suffices
