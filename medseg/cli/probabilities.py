"""The maps of `--probabilities`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.cli.outputs import Plan
    from medseg.domain.volume import Volume
    from medseg.inference.model import Model
    from medseg.inference.probabilities import OnProbabilities


@contextmanager
def probability_maps(plan: Plan, volume: Volume, model: Model) -> Iterator[OnProbabilities | None]:
    """What is to be told of the probabilities, if they were asked for; the file is there when the block ends well."""
    if plan.probabilities is None:
        yield None
        return
    from medseg.io.nifti_maps import NiftiMaps

    with NiftiMaps(plan.probabilities, volume, len(model.probability_channels())) as maps:
        yield maps.put
        maps.save()
