"""A network as ONNX, run by ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

ENDING = "onnx"


def onnxruntime_backend(
    network: nn.Module, shape: Sequence[int], precision: Precision, device: torch.device, cache: Path | None
) -> Network:
    """(B, C, *S) -> (B, K, *S) in fp32; the exported network is kept in `cache`, since exporting takes longest.

    shape: (B, C, *S) of the windows that it is exported for; other batches are split or filled up to it.
    Raises: BackendError where it is not installed, the device is no CPU or the precision is not fp32.
    """
    require_cpu("onnxruntime", device.type)
    if precision != "fp32":
        raise BackendError(f"--backend onnxruntime: computes in fp32, not in {precision}; give --precision fp32")
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError("--backend onnxruntime: not installed; pip install 'medseg[onnx]'") from error
    network = with_staged_norms(network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    key = entry_key(network_digest(network), shape, precision, device)
    content = read_entry(cache, key, ENDING)
    session = _session(onnxruntime, content, options)
    if session is None:
        content = _exported(network, shape)
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        write_entry(cache, key, ENDING, content)
    name = session.get_inputs()[0].name

    def run(windows: Tensor) -> Tensor:
        (logits,) = session.run(None, {name: windows.detach().float().contiguous().cpu().numpy()})
        return torch.from_numpy(logits).to(windows.device)

    return in_batches_of(shape[0], run)


def _session(onnxruntime: Any, content: bytes | None, options: Any) -> Any:
    """Of what was exported earlier; None where there is nothing or it is not taken."""
    if content is None:
        return None
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:  # its own kinds of errors, of which it has one for each status
        return None


def _exported(network: nn.Module, shape: Sequence[int]) -> bytes:
    """The network of windows of this shape in ONNX's format."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise BackendError(f"--backend onnxruntime: {error.name} is missing; pip install 'medseg[onnx]'") from error
    with torch.no_grad(), warnings.catch_warnings(), _silent("torch.onnx"):
        warnings.simplefilter("ignore")  # about the exporter's own insides
        program = torch.onnx.export(network.cpu().eval(), (torch.zeros(*shape),), dynamo=True, verbose=False)
    if program is None:
        raise BackendError("--backend onnxruntime: torch exports nothing; give --backend eager")
    return program.model_proto.SerializeToString()


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
