import threading

import pytest
import torch

from medseg.engines.ahead import has_idle_core, one_ahead


@pytest.mark.parametrize("steps", [[1, 2, 3, 4], [3, 4], [4], [1, 3, 3, 2]])
def test_values_are_those_of_the_function_whatever_was_prepared(steps):
    with one_ahead(lambda step: step * 10, 4) as get:
        assert [get(step) for step in steps] == [step * 10 for step in steps]


def test_the_next_value_is_made_by_then_and_none_after_the_last():
    made = {step: threading.Event() for step in range(1, 6)}

    def make(step):
        made[step].set()
        return step

    with one_ahead(make, 3) as get:
        get(1)
        assert made[2].wait(20)
        assert not made[3].is_set()
        get(2), get(3)
    assert not made[4].is_set()


def test_an_error_is_raised_where_its_value_is_asked_for():
    def make(step):
        if step == 2:
            raise ValueError("no batch 2")
        return step

    with one_ahead(make, 3) as get:
        assert get(1) == 1
        with pytest.raises(ValueError, match="no batch 2"):
            get(2)
        assert get(3) == 3


def test_a_gpu_leaves_a_core_idle_and_a_cpu_whose_cores_are_all_taken_does_not():
    assert has_idle_core(torch.device("cuda"), 1000)
    assert not has_idle_core(torch.device("cpu"), 1000)
