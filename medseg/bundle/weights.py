"""Weights on disk: digest first, tensors only, every key and shape as the network has them."""

from __future__ import annotations

import hashlib
import io

import torch
from torch import Tensor, nn

from medseg.bundle.bundle import Bundle
from medseg.domain.errors import BundleError
from medseg.networks.build import build_network

_MOST_BYTES = 2 << 30
_LARGE_BYTES = 25_000_000  # what a bundle of the model zoo's kind may hold


def load_network(stored: Bundle) -> nn.Module:
    """The network with the bundle's weights, in evaluation mode, on the CPU.

    Raises: BundleError if the file is missing, has another digest, holds more than tensors or does not fit.
    """
    path = stored.folder / "models" / "model.pt"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleError(f"{path}: {path.stat().st_size} bytes are more than any bundle of this kind holds")
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: the weights cannot be read ({error.strerror}); copy the bundle again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != stored.weights_sha256:
        raise BundleError(
            f"{path}: sha256 is {digest[:12]}..., metadata.json says {stored.weights_sha256[:12]}...; "
            "the file was changed or damaged; copy the bundle again"
        )
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if lacking := [name for name, value in weights.items() if value.device.type != "cpu"]:
            raise ValueError(f"{len(lacking)} tensors have no values")
        with torch.device("meta"):  # sizes a config claims are compared before they are allocated
            network = build_network(stored.network)
        network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    except MemoryError:
        raise
    except Exception as error:  # unpickling raises nearly anything on a damaged file
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise BundleError(f"{path}: the weights do not fit the network ({reason})") from error
    return network.eval()


def weights_bytes(weights: dict[str, Tensor]) -> bytes:
    """A state dict as the content of models/model.pt; the same weights give the same bytes.

    Weights that would take more than 25 MB are kept in float16, where all of them are small enough for it.
    """
    values = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    if sum(value.nbytes for value in values.values()) > _LARGE_BYTES:
        halves = {name: value.half() if value.is_floating_point() else value for name, value in values.items()}
        if all(torch.isfinite(value).all() for value in halves.values()):
            values = halves
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()
