"""A bundle ready to run, in the way that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import nn

from medseg.backends.backend import EAGER, Asked, Backend
from medseg.backends.eager import eager
from medseg.backends.mirrored import mirrored, turned
from medseg.backends.precision import Precision
from medseg.bundle.bundle import Bundle, StoredBundle
from medseg.bundle.foreign import ForeignBundle
from medseg.bundle.template import load_template
from medseg.bundle.weights import load_network
from medseg.domain.errors import UsageError
from medseg.domain.report import BackendChoice
from medseg.domain.volume import Volume
from medseg.domain.wishes import NO_WISHES, Wishes
from medseg.networks.ensemble import Ensemble
from medseg.networks.head import blended_width, split_head
from medseg.windows import Head, Network

if TYPE_CHECKING:
    from medseg.inference.foreign import ForeignModel


@dataclass(frozen=True)
class Model:
    """A bundle ready to run: `network` in the wanted precision, `exact` the same in fp32 as torch runs it.

    body:     the network up to its features, and `head` what makes logits of them, where windows are better blended as
              features; else both None.
    template: the localiser's.
    voters:   answers that are compared: shallower heads, members of an ensemble, or mirror images.
    votes:    whether the network's own answer is compared with them.
    settings: what was asked for beside the bundle's own values; stands in the report.
    backends: what runs `network`, then what runs the voters.
    """

    bundle: Bundle
    network: Network
    exact: Network
    device: torch.device
    precision: Precision
    body: Network | None = None
    head: Head | None = None
    template: Volume | None = None
    voters: tuple[Network, ...] = ()
    votes: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    backends: tuple[Backend, ...] = ()

    def expect(self, windows: int) -> None:
        """Before the first window: so many come for the first image; what runs the network may depend on it."""
        for backend in self.backends:
            backend.expect(windows)

    @property
    def choice(self) -> BackendChoice | None:
        """What runs the network; None before its first window."""
        return self.backends[0].choice if self.backends else None


@overload
def load_model(
    stored: StoredBundle,
    device: torch.device,
    precision: Precision,
    wishes: Wishes = NO_WISHES,
    asked: Asked = EAGER,
) -> Model: ...
@overload
def load_model(
    stored: ForeignBundle,
    device: torch.device,
    precision: Precision,
    wishes: Wishes = NO_WISHES,
    asked: Asked = EAGER,
) -> ForeignModel: ...
def load_model(
    stored: StoredBundle | ForeignBundle,
    device: torch.device,
    precision: Precision,
    wishes: Wishes = NO_WISHES,
    asked: Asked = EAGER,
) -> Model | ForeignModel:
    """The bundle's network on the device; loaded once for many cases.

    asked: by what it is to be run; bundles of other people are run by torch as they are.
    Raises: UsageError for a depth that the network has not, tta without mirror images in training, quality where
    there is nothing to compare, or any of them or another backend than torch of a bundle of other people;
    BundleError as `load_network`.
    """
    if isinstance(stored, ForeignBundle):
        if wishes != NO_WISHES:
            raise UsageError(f"{stored.folder}: --tta, --depth, --fast and --quality are for bundles of medseg")
        if asked.name not in ("auto", "eager"):
            raise UsageError(f"{stored.folder}: --backend {asked.name} is for bundles of medseg; leave it out")
        from medseg.inference.foreign import load_foreign  # by way of MONAI, which takes long to import

        return load_foreign(stored, device, precision)
    bundle, depth = stored.bundle, wishes.depth
    greatest = bundle.network.greatest_depth
    if depth is not None and not 1 <= depth <= (greatest or 0):
        there = "one depth" if greatest is None else f"depths 1 to {greatest}"
        raise UsageError(f"--depth {depth}: the network of bundle {bundle.name} has {there}")
    if wishes.tta and not bundle.flip_axes:
        raise UsageError(f"--tta: bundle {bundle.name} was not trained with mirror images; leave it out")
    network = load_network(stored)
    passes = 2 ** len(bundle.flip_axes) if wishes.tta else 1
    split = split_head(network, depth) if blended_width(bundle.network) else None
    if split is None:
        backend = whole = Backend(network, device, precision, depth, asked, bundle.window.batch, passes)
    else:
        backend = Backend(split.body, device, precision, None, asked, bundle.window.batch, passes, head=split.head)
        whole = backend.like(network, depth)
    wanted: Network = whole
    body: Network | None = None if split is None else backend
    exact = eager(network, device, "fp32", depth)
    by_member = isinstance(network, Ensemble) and bundle.quality is not None and bundle.quality.of_member
    others, voters = _voters(network, whole, bundle, depth, by_member) if wishes.quality else ((), ())
    if wishes.tta:
        wanted, exact = mirrored(wanted, bundle.flip_axes), mirrored(exact, bundle.flip_axes)
        if body is not None:  # a head that looks at each voxel alone may wait for the mean
            body = mirrored(body, bundle.flip_axes)
    return Model(
        bundle,
        wanted,
        exact,
        device,
        precision,
        body,
        None if split is None else split.head.to(device).eval(),
        load_template(stored),
        voters,
        not by_member,
        {name: value for name, value in vars(wishes).items() if value},
        (backend, whole, *others),
    )


def fast_depth(stored: StoredBundle | ForeignBundle, worth: float = 0.01) -> int:
    """The shallowest depth of a UNet++ that is within `worth` Dice of the best, by what was measured.

    Raises: UsageError where no depths were measured.
    """
    if isinstance(stored, ForeignBundle) or not stored.bundle.depths:
        raise UsageError(
            f"--fast: no depths of bundle {stored.folder} were measured; of a UNet++, medseg bundle depths does"
        )
    bundle = stored.bundle
    best = max(score.dice for score in bundle.depths)
    return next(score.depth for score in bundle.depths if score.dice >= best - worth)


def _voters(
    network: nn.Module, backend: Backend, bundle: Bundle, depth: int | None, by_member: bool
) -> tuple[tuple[Backend, ...], tuple[Network, ...]]:
    """What answers beside the network, run as it is; first what of it has a start of its own.

    by_member: the first member of an ensemble answers with its mirror images, in place of all members.
    """
    if isinstance(network, Ensemble) and by_member:
        first = backend.like(network.members[0], depth)
        return (first,), (first, *(turned(first, (axis,)) for axis in bundle.flip_axes))
    if isinstance(network, Ensemble):
        members = tuple(backend.like(member, depth) for member in network.members)
        return members, members
    deepest = depth or bundle.network.greatest_depth or 1
    if deepest > 1:
        heads = tuple(backend.like(network, shallower) for shallower in range(1, deepest))
        return heads, heads
    if bundle.flip_axes:
        return (), tuple(turned(backend, (axis,)) for axis in bundle.flip_axes)
    raise UsageError(f"--quality: bundle {bundle.name} has one answer only: no depths, members or mirror images")
