"""Bundles made of bundles: several that answer together, and a UNet++ without its deepest part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from medseg.bundle.bundle import Bundle, FieldOfView
from medseg.bundle.weights import load_network
from medseg.domain.errors import UsageError
from medseg.networks.build import build_network
from medseg.networks.ensemble import join_weights


def joined(parts: Sequence[Bundle], name: str) -> tuple[Bundle, dict[str, Tensor]]:
    """The bundle and weights of the ensemble of two or more bundles, as of the folds of a cross-validation.

    A localiser is not taken along: `medseg bundle localise` adds it.
    Raises: UsageError if they differ in more than weights, fold, name and the sizes of their training images
    (`field_of_view`, of which the widest is taken); BundleError as `load_network`.
    """
    if len(parts) < 2:
        raise UsageError("an ensemble needs at least two bundles")
    for part in parts:
        if part.network.members > 1:
            raise UsageError(f"{part.folder}: is an ensemble already; join the bundles it was made of")
    if len({part.weights_sha256 for part in parts}) < len(parts):
        raise UsageError("an ensemble of the same network twice answers as the network does; give each once")
    view = _joined_view([part.field_of_view for part in parts])
    never_empty = all(part.always_labelled for part in parts)
    first, *others = [replace(_form(part), field_of_view=view, always_labelled=never_empty) for part in parts]
    for part, other in zip(parts[1:], others, strict=True):
        for field, value in vars(first).items():
            if field != "folder" and getattr(other, field) != value:
                raise UsageError(f"{part.folder}: its {field} is not that of {parts[0].folder}; they cannot be joined")
    options = {**(first.network.options or {}), "members": len(parts)}
    network = replace(first.network, options=options)
    weights = join_weights([load_network(part).state_dict() for part in parts])
    folds = {part.fold for part in parts}
    return replace(
        first,
        name=name,
        version=parts[0].version,
        network=network,
        fold=folds.pop() if len(folds) == 1 else None,
        seen=tuple(sorted({digest for part in parts for digest in part.seen})),
    ), weights


def _joined_view(views: Sequence[FieldOfView | None]) -> FieldOfView | None:
    """From the smallest to the largest that any of them takes; None where one of them takes every size."""
    declared = [view for view in views if view is not None]
    if len(declared) < len(views):
        return None
    x, y, z = zip(*(view.smallest_mm for view in declared), strict=True)
    smallest_mm = min(x), min(y), min(z)
    x, y, z = zip(*(view.largest_mm for view in declared), strict=True)
    return FieldOfView(smallest_mm, (max(x), max(y), max(z)))


def pruned(stored: Bundle, depth: int, name: str) -> tuple[Bundle, dict[str, Tensor]]:
    """The bundle and weights of a UNet++ up to a depth: what deeper heads alone need is gone.

    Raises: UsageError if its network is no UNet++ of more than that depth.
    """
    spec = stored.network
    greatest = spec.greatest_depth
    if greatest is None or not 1 <= depth < greatest:
        there = "one depth" if greatest is None else f"depths 1 to {greatest}"
        raise UsageError(f"{stored.folder}: its {spec.preset} has {there} and cannot be pruned to {depth}")
    smaller = replace(spec, widths=spec.widths[: depth + 1])
    weights = load_network(stored).state_dict()
    kept = {key: weights[key] for key in build_network(smaller).state_dict()}
    return replace(
        _form(stored),
        network=smaller,
        name=name,
        version=stored.version,
        fold=stored.fold,
        seen=stored.seen,
        depths=tuple(score for score in stored.depths if score.depth <= depth),
    ), kept


def parameters_of_depth(stored: Bundle, depth: int) -> int:
    """How many parameters a UNet++ has down to a depth."""
    spec = stored.network
    smaller = build_network(replace(spec, widths=spec.widths[: depth + 1]))
    return sum(parameter.numel() for parameter in smaller.parameters())


def _form(bundle: Bundle) -> Bundle:
    """What bundles of one training plan share; what was measured or added afterwards is left out."""
    return replace(
        bundle, name="", version="", weights_sha256="", fold=None, seen=(), depths=(), quality=None, localiser=None
    )
