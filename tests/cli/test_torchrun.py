import pytest
import torch

from medseg.cli.torchrun import is_first_process, own_device
from medseg.domain.errors import ResourceError, UsageError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def launched(monkeypatch):
    """As torchrun launches process 1 of 2."""
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


def test_each_process_has_a_device_of_its_own(launched):
    assert own_device(CPU) == (CPU, "gloo")
    assert own_device(CUDA) == (torch.device("cuda:1"), "nccl")
    assert not is_first_process()


def test_one_process_keeps_the_device_that_was_asked_for(launched):
    launched.setenv("WORLD_SIZE", "1")
    assert own_device(torch.device("cuda:1")) == (torch.device("cuda:1"), None)
    launched.delenv("TORCHELASTIC_RUN_ID")  # another launcher's variables are not torchrun's
    launched.setenv("WORLD_SIZE", "2")
    assert own_device(CPU) == (CPU, None)
    assert is_first_process()


@pytest.mark.parametrize("name", ["cuda:0", "mps"])
def test_one_device_for_several_processes_is_refused(launched, name):
    with pytest.raises(UsageError, match="a device of its own"):
        own_device(torch.device(name))


def test_more_processes_than_gpus_are_refused(launched):
    launched.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ResourceError, match="--nproc-per-node 2: this machine has 1 CUDA devices"):
        own_device(CUDA)
