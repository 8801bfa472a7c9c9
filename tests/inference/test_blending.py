"""Many classes: windows are blended as features, in every way that a bundle is run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medseg.bundle.reader import read_bundle
from medseg.domain.errors import ResourceError
from medseg.domain.labels import Label, LabelTable
from medseg.domain.wishes import NO_WISHES
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from tests.bundles import blob_volume, stored_bundle, volume_bundle
from tests.phantoms import orientations

MANY = LabelTable(tuple(Label(n, f"organ {n}", (n, 255 - n, 7)) for n in range(1, 40)))


def many_classes(preset="unet"):
    return replace(volume_bundle(labels=MANY, preset=preset), flip_axes=(0, 2))


@pytest.mark.parametrize(
    ("preset", "wishes"), [("unet", {}), ("unet", {"tta": True}), ("unetpp", {"depth": 1, "quality": True})]
)
def test_blended_features_give_the_labels_of_blended_logits(preset, wishes, tmp_path):
    stored = read_bundle(stored_bundle(many_classes(preset), tmp_path / "b").folder)
    model = load_model(stored, torch.device("cpu"), "fp32", replace(NO_WISHES, **wishes))
    assert model.body is not None
    volume = blob_volume(orientations((0.8, 1.2, 2.0))["LPS"])
    ours = segment(volume, model)
    logits = segment(volume, replace(model, body=None, head=None))
    assert len(np.unique(ours.label_map.voxels)) > 2
    differing = (ours.label_map.voxels != logits.label_map.voxels).mean()
    assert differing <= 1e-3  # near-ties of two classes
    assert ours.report.windows == logits.report.windows
    assert ours.report.quality == logits.report.quality or differing > 0


def test_few_classes_are_blended_as_logits(tmp_path):
    stored = read_bundle(stored_bundle(volume_bundle(), tmp_path / "b").folder)
    model = load_model(stored, torch.device("cpu"), "fp32")
    assert (model.body, model.head) == (None, None)


def test_a_window_that_does_not_fit_is_refused_by_the_images_name(tmp_path):
    def too_large(windows):
        raise MemoryError

    stored = read_bundle(stored_bundle(volume_bundle(), tmp_path / "b").folder)
    model = replace(load_model(stored, torch.device("cpu"), "fp32"), network=too_large)
    volume = replace(blob_volume(orientations((1.0, 1.0, 1.0))["LPS"]), case="case 7")
    with pytest.raises(ResourceError, match=r"case 7: not enough memory on cpu .* one window of 16 x 16 x 16 voxels"):
        segment(volume, model)
