"""Components become MONAI objects, and the network gets its weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from medseg.bundle.component import Component
from medseg.bundle.config import NotRunError
from medseg.bundle.foreign import MonaiBundle
from medseg.bundle.quiet import quiet
from medseg.bundle.tensors import load_state
from medseg.bundle.trusted import TrustedPart
from medseg.domain.errors import BundleError

_MOST_PARAMETERS = 1_000_000_000
_DEVICES = ("device", "sw_device", "cpu_thresh")
_ALLOCATING = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full}


def build(component: Component, **more: Any) -> Any:
    """The object that a component stands for; `more` are arguments of the host's own.

    Raises: NotRunError if its class refuses the arguments.
    """
    if isinstance(component, TrustedPart):
        return component.built
    arguments = {name: _built(value) for name, value in component.arguments.items() if name not in (*_DEVICES, *more)}
    try:
        with quiet():
            return component.target.load()(**{**arguments, **more})
    except MemoryError:
        raise
    except Exception as error:  # a class may raise anything for arguments that it does not like
        reason = " ".join(str(error).split())[:200]
        raise NotRunError(f"{component.place}: {component.name} cannot be built ({reason})") from error


def _built(value: Any) -> Any:
    if isinstance(value, Component):
        return build(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_built(item) for item in value)
    return value


def build_transforms(components: Sequence[Component]) -> list[Any]:
    """The transforms; keys that only training has may be missing."""
    return [build(c, **_host_options(c)) for c in components]


def _host_options(component: Component) -> dict[str, Any]:
    if isinstance(component, TrustedPart):
        return {}
    taken = inspect.signature(component.target.load()).parameters
    return {"allow_missing_keys": True} if "allow_missing_keys" in taken else {}


def build_foreign_network(bundle: MonaiBundle) -> nn.Module:
    """The network with the bundle's weights, in evaluation mode, on the CPU.

    Shapes are compared before anything of the size that a config claims is allocated.
    Raises: BundleError if they do not fit, key by key.
    """
    path, key = bundle.checkpoint
    weights = load_state(path, key)
    with _Meta():
        draft = _network(bundle.network)
    parameters = sum(p.numel() for p in draft.parameters())
    if parameters > _MOST_PARAMETERS:
        raise BundleError(f"{bundle.network.place}: a network of {parameters} parameters is not built")
    _require_same(draft.state_dict(), weights, str(path))
    with torch.random.fork_rng(devices=[]):
        network = _network(bundle.network)
    network.load_state_dict({name: v.float() if v.is_floating_point() else v for name, v in weights.items()})
    return network.eval()


def _network(component: Component) -> nn.Module:
    if isinstance(component, TrustedPart):
        return component.built
    arguments = component.arguments
    dropped = ("img_size",) if component.name == "SwinUNETR" else ()
    made = Component(component.target, {k: v for k, v in arguments.items() if k not in dropped}, component.place)
    network = build(made)
    if not isinstance(network, nn.Module):
        raise NotRunError(f"{component.place}: {component.name} is no network")
    return network


def _require_same(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: str) -> None:
    missing, more = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or more:
        words = [f"lacks {missing[0]}" if missing else "", f"has {more[0]!r:.80} besides" if more else ""]
        raise BundleError(
            f"{path}: the weights do not fit the network: the file {' and '.join(w for w in words if w)} "
            f"({len(missing)} missing, {len(more)} unknown)"
        )
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            raise BundleError(
                f"{path}: the weights do not fit the network: {name} is {tuple(given[name].shape)}, "
                f"the network has {tuple(tensor.shape)}"
            )


class _Meta(TorchFunctionMode):
    """Parameters without memory; small helpers like `linspace`, which networks read numbers from, stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _ALLOCATING and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
