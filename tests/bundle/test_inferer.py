"""Our windows as MONAI's evaluators and other people's bundles use them."""

import json

import pytest
import torch
from hypothesis import given, settings
from monai.data.meta_tensor import MetaTensor
from monai.inferers import SlidingWindowInferer

from medseg.bundle import configs
from medseg.bundle.config import NotRunError
from medseg.bundle.foreign import read_foreign
from medseg.bundle.inferer import SlabInferer
from medseg.bundle.program import window_spec
from medseg.bundle.reader import read_bundle
from medseg.domain.errors import BundleError, UsageError
from medseg.windows import WindowSpec
from tests.bundle.zoo import write_form
from tests.bundles import stored_bundle, volume_bundle
from tests.windows.cases import a_network, cases

OURS = "medseg.bundle.inferer.SlabInferer"


@settings(max_examples=40)
@given(cases())
def test_it_gives_what_monais_inferer_gives_for_a_batch_of_images(case):
    image, spec, classes = case
    images, network = torch.stack([image, image.flip(-1)]), a_network(classes, spec.size)
    same = {"roi_size": spec.size, "sw_batch_size": spec.batch, "overlap": spec.overlap, "mode": spec.weighting}
    ours, theirs = (kind(**same)(images, network) for kind in (SlabInferer, SlidingWindowInferer))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_sizes_of_the_image_further_arguments_and_the_affine_are_handed_on():
    image = MetaTensor(torch.randn(1, 1, 9, 7), affine=torch.diag(torch.tensor([2.0, 3, 1, 1])))
    sizes = []
    logits = SlabInferer((4, -1))(image, lambda windows, by: sizes.append(windows.shape[2:]) or windows * by, 2.0)
    assert set(sizes) == {(4, 7)}
    torch.testing.assert_close(logits.as_tensor(), image.as_tensor() * 2)
    assert torch.equal(logits.affine, image.affine)


@pytest.mark.parametrize(
    "arguments", [{"overlap": 1.0}, {"mode": "linear"}, {"placement": "centred"}, {"sw_batch_size": 0}]
)
def test_windows_that_are_none_are_refused_at_once(arguments):
    with pytest.raises(UsageError):
        SlabInferer((8, 8), **arguments)


def test_our_bundles_may_name_it_for_either_placement(tmp_path):
    for placement in ("monai", "nnunet"):
        bundle = volume_bundle(window=WindowSpec((16, 8, 8), 0.25, "gaussian", 3, placement))
        folder = stored_bundle(bundle, tmp_path / placement).folder
        path = folder / "configs" / "inference.json"
        config = json.loads(path.read_text())
        assert config["inferer"]["_target_"] == ("SlidingWindowInferer" if placement == "monai" else OURS)
        path.write_text(json.dumps({**config, "inferer": configs.slab_inferer(bundle)}))
        assert read_bundle(folder).window == bundle.window
        path.write_text(json.dumps({**config, "inferer": {**configs.slab_inferer(bundle), "placement": "centred"}}))
        with pytest.raises(BundleError, match="'centred' is not one of"):
            read_bundle(folder)


def test_other_peoples_bundles_may_name_it(tmp_path):
    folder = write_form(tmp_path / "b", "spleen_ct")
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text())

    def spec_with(**arguments):
        path.write_text(json.dumps({**config, "inferer": {"_target_": OURS, "roi_size": [16, -1, 8], **arguments}}))
        return window_spec(read_foreign(folder).inferer, (40, 30, 20))

    assert spec_with() == WindowSpec((16, 30, 8), 0.25, "constant", 1)
    assert spec_with(placement="nnunet", mode="gaussian") == WindowSpec((16, 30, 8), 0.25, "gaussian", 1, "nnunet")
    assert spec_with(placement="centred") is None  # then it is built, which refuses
    with pytest.raises(NotRunError, match="has no argument"):
        spec_with(network="x")
