"""What every kind of model looks like once it is loaded, so that one orchestrator serves them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from numpy.typing import NDArray

from medseg.backends.backend import EAGER, Asked
from medseg.backends.precision import Precision
from medseg.bundle.bundle import Bundle
from medseg.bundle.foreign import MonaiBundle
from medseg.domain.box import Box
from medseg.domain.labels import LabelTable
from medseg.domain.report import BackendChoice
from medseg.domain.volume import Volume
from medseg.domain.wishes import NO_WISHES, Wishes
from medseg.inference.clock import Clock
from medseg.inference.parts import Part
from medseg.inference.resample import OnValues

if TYPE_CHECKING:
    pass

AnyBundle = Bundle | MonaiBundle


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case that only the network is still to see.

    volume:     as the model takes it.
    name:       how messages call it.
    parts:      the pieces of the image that the network looks at; at least one.
    first:      what `Model.image` gives of the first part, where it was made ahead; else None.
    settings:   for the report.
    need_bytes: about what segmenting will take beside the image as read.
    """

    volume: Volume
    name: str
    clock: Clock
    parts: tuple[Part, ...]
    first: Any = None
    settings: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    need_bytes: int = 0


@dataclass(frozen=True, eq=False)
class PartLabels:
    """Label values (*part.source shape), the number of windows that were computed, and notes."""

    labels: NDArray[Any]
    windows: int
    notes: tuple[str, ...] = ()


class Model(Protocol):
    """A bundle of any kind, loaded and ready to run."""

    @property
    def bundle(self) -> AnyBundle:
        """The bundle as it is on disk: name, version, modality, digest of the weights, folder."""
        ...

    @property
    def network_name(self) -> str:
        """What kind of network it is."""
        ...

    @property
    def parameters(self) -> int:
        """How many parameters the network has."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        ...

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What was asked for beside the bundle's own values."""
        ...

    @property
    def voters(self) -> Sequence[Model]:
        """Models whose answers are compared with this one's, to estimate quality; empty for none."""
        ...

    @property
    def votes(self) -> bool:
        """Whether this model's own answer is compared with theirs."""
        ...

    def prepare(self, volume: Volume, boxes: Sequence[Box], name: str, clock: Clock, beside_bytes: int = 0) -> Prepared:
        """Do all that needs no network, so that it can be done while the network is busy with another case.

        boxes:        the parts of the image to segment; the whole where there is none.
        beside_bytes: what others will take of the free memory.
        Raises: InputError and its kinds where the image does not suit the bundle; ResourceError where it does not fit.
        """
        ...

    def image(self, part: Part, clock: Clock) -> Any:
        """Return what `label` is given of a part; its form is the model's own business."""
        ...

    def label(
        self,
        part: Part,
        image: Any,
        clock: Clock,
        on_window: Callable[[int], None] | None = None,
        on_values: OnValues | None = None,
        exact: bool = False,
    ) -> PartLabels:
        """Run the network on a part and decide which label each of its voxels has.

        on_window: called with the number of windows as they are computed.
        on_values: called with the values that are decided by, block by block; for models with probabilities.
        exact:     in fp32, whatever the model's precision.
        Raises: NotFinite where the network computes NaN or infinity.
        """
        ...

    def table(self, values: NDArray[Any]) -> tuple[LabelTable, tuple[str, ...]]:
        """Return the labels, those of these values at least, and notes."""
        ...

    def probability_channels(self) -> list[str]:
        """Return what the channels of probabilities are, the background first.

        Raises: UsageError where the model has no probability for each label.
        """
        ...

    def stacked(self, images: Mapping[str, Volume]) -> Volume:
        """Return the images of one case, by name, as the channels of one volume.

        Raises: UsageError for names that the model does not have or lacks; InputError for images on different grids.
        """
        ...

    def expected_windows(self, volume: Volume) -> int:
        """Return about how many windows the whole image takes, 0 if that is not known."""
        ...

    def expect(self, windows: int) -> None:
        """Announce, before the first window, how many the first image has; the choice of backend may depend on it."""
        ...

    def choice(self, windows: int) -> BackendChoice | None:
        """Return what ran the network, after so many windows; None before the first."""
        ...


def load_model(
    bundle: AnyBundle,
    device: torch.device,
    precision: Precision,
    wishes: Wishes = NO_WISHES,
    asked: Asked = EAGER,
) -> Model:
    """Load a bundle of any kind onto the device, once for many cases.

    asked: by what it is to be run; third-party bundles are run by torch as they are.
    Raises: UsageError for what the bundle cannot do; BundleError for a damaged one.
    """
    if isinstance(bundle, Bundle):
        from medseg.inference.own import load_own

        return load_own(bundle, device, precision, wishes, asked)
    from medseg.inference.foreign import load_monai  # by way of MONAI, which takes long to import

    return load_monai(bundle, device, precision, wishes, asked)
