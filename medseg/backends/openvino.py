"""A network compiled by OpenVINO for this CPU."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.backends.batches import Network, in_batches_of
from medseg.backends.cache import read_entry, write_entry
from medseg.backends.fingerprint import entry_key, network_digest
from medseg.backends.gap import BackendError, require_cpu
from medseg.backends.precision import Precision
from medseg.backends.staged_norm import with_staged_norms
from medseg.backends.untold import keep_untold

ENDING = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def import_openvino() -> Any:
    """The package, without what it would tell its makers about its use over the network.

    Raises: BackendError where it is not installed or does not start.
    """
    keep_untold()
    try:
        import openvino

        return openvino
    except ModuleNotFoundError as error:
        raise BackendError("--backend openvino: not installed; pip install 'medseg[openvino]'") from error
    except (ImportError, OSError) as error:
        raise BackendError(
            f"--backend openvino: cannot be imported ({error}); pip install --force-reinstall 'medseg[openvino]'"
        ) from error


def openvino_backend(
    network: nn.Module, shape: Sequence[int], precision: Precision, device: torch.device, cache: Path | None
) -> Network:
    """(B, C, *S) -> (B, K, *S); what was compiled is kept in `cache` and started from there the next time.

    shape: (B, C, *S) of the windows that it is compiled for; other batches are split or filled up to it.
    Raises: BackendError where it is not installed, the device is no CPU or the CPU does not compute in the precision.
    """
    require_cpu("openvino", device.type)
    openvino = import_openvino()
    core = openvino.Core()
    if precision not in _HINTS:
        raise BackendError(
            f"--backend openvino: computes in fp32 or bf16, not in {precision}; give one with --precision"
        )
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise BackendError("--backend openvino: this CPU has no bf16; give --precision fp32, or --backend eager")
    network = with_staged_norms(network)
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    key = entry_key(network_digest(network), shape, precision, device)
    compiled = _kept(core, read_entry(cache, key, ENDING), settings)
    if compiled is None:
        compiled = core.compile_model(_converted(openvino, network, shape), "CPU", settings)
        write_entry(cache, key, ENDING, bytes(compiled.export_model().getbuffer()))
    request = compiled.create_infer_request()

    def run(windows: Tensor) -> Tensor:
        request.infer([windows.detach().float().contiguous().cpu().numpy()], share_inputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy()).to(windows.device)

    return in_batches_of(shape[0], run)


def _kept(core: Any, content: bytes | None, settings: dict[str, Any]) -> Any:
    """What was compiled earlier; None where there is nothing or OpenVINO does not take it."""
    if content is None:
        return None
    try:
        return core.import_model(content, "CPU", settings)
    except RuntimeError:
        return None


def _converted(openvino: Any, network: nn.Module, shape: Sequence[int]) -> Any:
    """The network as OpenVINO's model of windows of this shape, by a trace: the sizes in it are constants."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(*shape)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes that become constants, which is what is wanted
        decoder = TorchScriptPythonDecoder(
            network.cpu().eval(), example_input=example, trace_kwargs={"check_trace": False}
        )
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.reshape({0: openvino.PartialShape(list(shape))})
    return model
