"""Our postprocessing as MONAI dictionary transforms, so that stock `monai.bundle run` gives our mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.enums import MetaKeys

from medseg.postprocess.components import remove_islands
from medseg.postprocess.instances import instances_from_boundary


class ArgmaxLabelsd(MapTransform):
    """Logits (K, *S) -> label values (1, *S); connected pieces under min_voxels become background.

    class_values: the label value of each channel from the second on.
    """

    def __init__(self, keys: KeysCollection, class_values: list[int], min_voxels: int = 0):
        super().__init__(keys)
        self.values = np.array([0, *class_values])
        self.min_voxels = min_voxels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The data with the keys replaced."""
        done = dict(data)
        for key in self.key_iterator(done):
            labels = self.values[_as_tensor(done[key]).argmax(0).cpu().numpy()].astype(np.uint16)
            done[key] = _like(done[key], remove_islands(labels, self.min_voxels))
        return done


class Instancesd(MapTransform):
    """Logits (3, *S) of background, interior and boundary -> numbered instances (1, *S)."""

    def __init__(self, keys: KeysCollection, marker_threshold: float, foreground_threshold: float, min_voxels: int):
        super().__init__(keys)
        self.options = {
            "marker_threshold": marker_threshold,
            "foreground_threshold": foreground_threshold,
            "min_voxels": min_voxels,
        }

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The data with the keys replaced."""
        done = dict(data)
        for key in self.key_iterator(done):
            probabilities = _as_tensor(done[key]).softmax(0).cpu().numpy()
            done[key] = _like(done[key], instances_from_boundary(probabilities, **self.options))  # type: ignore[arg-type]
        return done


def _as_tensor(value: Any) -> torch.Tensor:
    return value.as_tensor() if isinstance(value, MetaTensor) else torch.as_tensor(value)


def _like(source: Any, labels: np.ndarray) -> torch.Tensor:
    """Labels (*S) as (1, *S), with the affine and file name of the source.

    The metadata say that there is no channel: without that SaveImage of MONAI 1.6 takes a volume, whose channel it
    dropped, for a picture with one, and fails where the first two axes are not the patient's first two.
    """
    tensor = torch.from_numpy(labels[None].astype(np.int32))
    if not isinstance(source, MetaTensor):
        return tensor
    return MetaTensor(tensor, meta={**source.meta, MetaKeys.ORIGINAL_CHANNEL_DIM: "no_channel"})
