"""What runs a network is settled once, by a rule; its precision never by a race."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medseg.backends import backend as module
from medseg.backends.backend import Asked, Backend, backend_name
from medseg.backends.choose import ASSUMED_START_S, FEW_WINDOWS
from medseg.backends.eager import eager
from medseg.backends.gap import BackendError
from medseg.domain.errors import UsageError

CPU = torch.device("cpu")


class Clock:
    """A clock that moves on only when told; the fake backends below move it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Machine:
    """Eager takes a second for a window, "openvino" `start_s` and then 0.5 s, with `wrong` added to its logits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, start_s: float = 4.0, wrong: float = 0.0):
        self.clock, self.built, self.start_s, self.wrong = Clock(), list[str](), start_s, wrong
        for name in ("openvino", "onnxruntime", "compile"):
            monkeypatch.setitem(module.BUILDS, name, self.build(name))
        monkeypatch.setattr(module, "eager", self.eager)

    def build(self, name: str) -> Callable[..., Callable[[Tensor], Tensor]]:
        def build(network, shape, precision, device, cache):
            if name != "openvino":
                raise BackendError(f"--backend {name}: not installed")
            self.built.append(name)
            self.clock.now += self.start_s
            run = eager(network, device, precision)
            return self.slow(lambda windows: run(windows) + self.wrong * torch.randn(len(windows), 3, 1, 1), 0.5)

        return build

    def eager(self, network, device, precision):
        return self.slow(eager(network, device, precision), 1.0)

    def slow(self, run, seconds):
        def runs(windows):
            self.clock.now += seconds * len(windows)
            return run(windows)

        return runs

    def backend(self, network, asked: Asked, precision="fp32", windows=1000) -> Backend:
        made = Backend(network, CPU, precision, asked=asked, clock=self.clock)
        made.expect(windows)
        return made


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1)).eval()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path))


WINDOWS = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def chosen(backend: Backend) -> str:
    backend(WINDOWS)
    assert backend.choice is not None
    return backend.choice.name


def test_few_windows_run_eager_without_a_trial(network, monkeypatch):
    machine = Machine(monkeypatch)
    assert chosen(machine.backend(network, Asked("auto"), windows=FEW_WINDOWS)) == "eager"
    assert machine.built == []


def test_many_windows_run_on_the_fast_one(network, monkeypatch):
    machine = Machine(monkeypatch)
    backend = machine.backend(network, Asked("auto"))
    assert chosen(backend) == "openvino"
    assert backend.choice.window_s == {"eager": 1.0, "openvino": 0.5}
    assert backend.choice.agreement == {"eager": 1.0, "openvino": 1.0}
    assert set(backend.choice.gaps) == {"onnxruntime", "compile"}


def test_images_to_come_count(network, monkeypatch):
    machine = Machine(monkeypatch)
    assert chosen(machine.backend(network, Asked("auto"), windows=10)) == "eager"
    assert chosen(machine.backend(network, Asked("auto", cases=100), windows=10)) == "openvino"


def test_one_whose_start_does_not_pay_is_not_chosen(network, monkeypatch):
    machine = Machine(monkeypatch, start_s=1e6)
    assert chosen(machine.backend(network, Asked("auto"))) == "eager"


def test_what_was_measured_counts_whatever_was_assumed(network, monkeypatch):
    """The start assumed of OpenVINO kept it from the choice, though its own had been measured to be short."""
    machine = Machine(monkeypatch, start_s=0.1)
    chosen(machine.backend(network, Asked("openvino")))
    chosen(machine.backend(network, Asked("auto"), windows=FEW_WINDOWS + 1))
    monkeypatch.setitem(ASSUMED_START_S, "openvino", 1e6)
    assert chosen(machine.backend(network, Asked("auto"), windows=FEW_WINDOWS + 1)) == "openvino"


def test_trials_are_made_once_whatever_the_clock_says_later(network, monkeypatch):
    machine = Machine(monkeypatch)
    assert chosen(machine.backend(network, Asked("auto"))) == "openvino"
    trials = len(machine.built)
    slower = Machine(monkeypatch, start_s=1e6)  # the same question on a busy day
    assert chosen(slower.backend(network, Asked("auto"))) == "openvino"
    assert len(slower.built) == 1
    assert trials == 2


@pytest.mark.parametrize("name", ["auto", "openvino", "eager"])
def test_the_precision_is_not_the_trials_affair(network, monkeypatch, name):
    for start_s in (0.0, 4.0, 1e6):
        backend = Machine(monkeypatch, start_s).backend(network, Asked(name))
        chosen(backend)
        assert backend.choice.precision == "fp32"
    backend = Machine(monkeypatch).backend(network, Asked(name), "bf16")
    chosen(backend)
    assert backend.choice.precision == "bf16"


def test_one_that_does_not_agree_is_not_chosen_and_refused_if_asked_for(network, monkeypatch):
    machine = Machine(monkeypatch, wrong=0.5)
    backend = machine.backend(network, Asked("auto"))
    assert chosen(backend) == "eager"
    assert "of the labels of some windows are those of fp32" in backend.choice.gaps["openvino"]
    assert torch.equal(backend(WINDOWS), eager(network, CPU, "fp32")(WINDOWS))
    with pytest.raises(BackendError, match="give --backend eager"):
        chosen(machine.backend(network, Asked("openvino")))


def test_a_lower_precision_that_does_not_agree_gives_way_to_fp32_and_says_so(monkeypatch):
    """Logits of two classes that bf16 cannot tell apart."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, 1.0]).view(2, 1, 1, 1))
        network[0].bias.copy_(torch.tensor([100.0, 100.01]))
    backend = Machine(monkeypatch).backend(network.eval(), Asked("auto"), "bf16")
    assert chosen(backend) == "eager"
    assert backend.choice.precision == "fp32"
    assert "in bf16" in backend.choice.reason
    assert torch.equal(backend(WINDOWS), eager(network, CPU, "fp32")(WINDOWS))


def test_what_is_missing_is_said_if_asked_for(network, monkeypatch):
    machine = Machine(monkeypatch)
    with pytest.raises(UsageError, match="onnxruntime: not installed"):
        chosen(machine.backend(network, Asked("onnxruntime")))


def test_a_backend_that_breaks_is_passed_over_or_named(network, monkeypatch):
    machine = Machine(monkeypatch)

    def breaks(*_):
        raise RuntimeError("unsupported operation\nand a long story")

    monkeypatch.setitem(module.BUILDS, "openvino", breaks)
    backend = machine.backend(network, Asked("auto"))
    assert chosen(backend) == "eager"
    assert "(unsupported operation)" in backend.choice.gaps["openvino"]
    with pytest.raises(BackendError, match=r"\(unsupported operation\); give --backend eager"):
        chosen(machine.backend(network, Asked("openvino")))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory")])
def test_want_of_memory_is_the_windows_affair_in_eager_and_a_gap_elsewhere(network, monkeypatch, error):
    machine = Machine(monkeypatch)

    def no_memory(*_):
        raise error

    monkeypatch.setitem(module.BUILDS, "openvino", no_memory)
    assert chosen(machine.backend(network, Asked("auto"))) == "eager"
    monkeypatch.setattr(module, "eager", lambda *_: no_memory)
    with pytest.raises(type(error)):
        machine.backend(network, Asked("auto"), windows=2000)(WINDOWS * 2)


def test_the_choice_is_told_once_and_falls_at_the_first_window_that_is_not_constant(network, monkeypatch):
    told = []
    backend = Machine(monkeypatch).backend(network, Asked("auto", 1, told.append))
    assert torch.equal(backend(torch.zeros(2, 1, 8, 8)), eager(network, CPU, "fp32")(torch.zeros(2, 1, 8, 8)))
    assert told == []
    for _ in range(3):
        backend(WINDOWS)
    assert [choice.name for choice in told] == ["openvino"]


def test_without_a_cache_all_is_measured_again(network, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        machine = Machine(monkeypatch)
        assert chosen(machine.backend(network, Asked("auto"))) == "openvino"
        assert machine.built == ["openvino"]


def test_names():
    assert backend_name("openvino") == "openvino"
    with pytest.raises(UsageError, match="give auto, eager, compile, openvino or onnxruntime"):
        backend_name("tensorrt")
