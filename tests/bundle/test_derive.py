"""Ensembles and pruned networks, packed and read back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medseg.bundle.bundle import DepthScore, FieldOfView
from medseg.bundle.depth import fast_depth
from medseg.bundle.derive import joined, pruned
from medseg.bundle.pack import pack
from medseg.bundle.reader import read_bundle
from medseg.bundle.weights import load_network
from medseg.domain.errors import UsageError
from medseg.domain.manifest import Fold
from medseg.domain.wishes import Wishes
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from medseg.metrics.quality import QualityFit
from medseg.networks.build import NetworkSpec, build_network
from tests.bundles import CPU, blob_volume, volume_bundle

UNETPP = NetworkSpec("unetpp", 3, 1, 3, (4, 6, 8))


def stored(folder, seed, bundle):
    torch.manual_seed(seed)
    pack(bundle, build_network(bundle.network).state_dict(), folder, "card")
    return read_bundle(folder)


def folds(tmp_path):
    bundle = replace(volume_bundle(), flip_axes=(0,))
    return [stored(tmp_path / f"f{n}", n, replace(bundle, name=f"f{n}", fold=Fold(n, 2))) for n in (1, 2)]


def test_joined_folds_answer_with_the_mean_of_their_logits(tmp_path):
    parts = folds(tmp_path)
    bundle, weights = joined(parts, "both")
    pack(bundle, weights, tmp_path / "both", "card")
    both = read_bundle(tmp_path / "both")
    assert (both.name, both.fold, both.network.options) == ("both", None, {"members": 2})
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        expected = sum(load_network(part)(x) for part in parts) / 2
        torch.testing.assert_close(load_network(both)(x), expected)


def test_what_differs_in_more_than_its_weights_is_not_joined(tmp_path):
    parts = folds(tmp_path)
    other = stored(tmp_path / "other", 3, replace(parts[0], flip_axes=(), name="other"))
    with pytest.raises(UsageError, match="flip_axes is not that of"):
        joined([parts[0], other], "x")
    with pytest.raises(UsageError, match="at least two"):
        joined(parts[:1], "x")
    bundle, weights = joined(parts, "both")
    pack(bundle, weights, tmp_path / "both", "card")
    both = read_bundle(tmp_path / "both")
    with pytest.raises(UsageError, match="is an ensemble already"):
        joined([both, both], "x")


def test_an_ensemble_has_seen_what_any_of_its_members_has(tmp_path):
    parts = [replace(part, seen=seen) for part, seen in zip(folds(tmp_path), [("a1", "b2"), ("b2", "c3")], strict=True)]
    bundle, weights = joined(parts, "both")
    pack(bundle, weights, tmp_path / "both", "card")
    assert read_bundle(tmp_path / "both").seen == ("a1", "b2", "c3")
    assert bundle.fold is None
    seeds = [replace(part, fold=Fold(1, 2)) for part in parts]
    assert joined(seeds, "seeds")[0].fold == Fold(1, 2)


def test_an_ensemble_never_saw_an_image_without_labels_if_none_of_its_networks_did(tmp_path):
    def part(n, always):
        return stored(tmp_path / f"{n}", n, replace(volume_bundle(), name=f"f{n}", always_labelled=always))

    parts = [part(1, True), part(2, True), part(3, False)]
    assert joined(parts[:2], "both")[0].always_labelled
    assert not joined(parts, "all")[0].always_labelled


def test_folds_that_saw_other_sizes_are_joined_to_the_widest(tmp_path):
    """Each fold's field of view comes from its own training images."""
    views = FieldOfView((20, 30, 20), (50, 70, 54)), FieldOfView((24, 28, 20), (48, 70, 59))
    parts = [
        stored(tmp_path / f"{n}", n, replace(volume_bundle(), name=f"f{n}", field_of_view=view))
        for n, view in enumerate((*views, None))
    ]
    assert joined(parts[:2], "both")[0].field_of_view == FieldOfView((20, 28, 20), (50, 70, 59))
    assert joined(parts, "all")[0].field_of_view is None


@pytest.mark.parametrize("options", [None, {"patch": 2}, {"members": 2}])
def test_a_pruned_bundle_answers_as_that_depth_did(tmp_path, options):
    spec = replace(UNETPP, options=options)
    scores = tuple(DepthScore(d, 0.8, 0.1, 10) for d in (1, 2))
    whole = stored(tmp_path / "whole", 1, replace(volume_bundle(), network=spec, depths=scores))
    bundle, weights = pruned(whole, 1, "small")
    pack(bundle, weights, tmp_path / "small", "card")
    small = read_bundle(tmp_path / "small")
    assert [score.depth for score in small.depths] == [1]
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(load_network(small)(x), load_network(whole)(x, 1))
    count = [sum(p.numel() for p in load_network(b).parameters()) for b in (small, whole)]
    assert count[0] < count[1] / 2


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_there_is_nothing_to_prune(tmp_path, depth):
    whole = stored(tmp_path / "whole", 1, replace(volume_bundle(), network=UNETPP))
    with pytest.raises(UsageError, match="depths 1 to 2 and cannot be pruned"):
        pruned(whole, depth, "small")
    with pytest.raises(UsageError, match="has one depth"):
        pruned(stored(tmp_path / "unet", 1, volume_bundle()), 1, "small")


# As asked for at run time


def test_depth_and_mirror_images_are_told_and_refused_where_there_are_none(tmp_path):
    whole = stored(tmp_path / "whole", 1, replace(volume_bundle(), network=UNETPP, flip_axes=(0,)))
    model = load_model(whole, CPU, "fp32", Wishes(depth=1, tta=True))
    assert segment(blob_volume(np.eye(4)), model).report.settings == {"roi": [], "depth": 1, "tta": True}
    with pytest.raises(UsageError, match=r"--depth 3: .* depths 1 to 2"):
        load_model(whole, CPU, "fp32", Wishes(depth=3))
    plain = stored(tmp_path / "plain", 1, volume_bundle())
    with pytest.raises(UsageError, match="has one depth"):
        load_model(plain, CPU, "fp32", Wishes(depth=1))
    with pytest.raises(UsageError, match="not trained with mirror images"):
        load_model(plain, CPU, "fp32", Wishes(tta=True))


@pytest.mark.parametrize(
    ("bundle", "voters"),
    [
        (replace(volume_bundle(), network=UNETPP), 1),  # the one shallower head
        (replace(volume_bundle(), network=replace(UNETPP, options={"members": 3}, preset="unet")), 3),
        (replace(volume_bundle(), flip_axes=(0, 2)), 2),
    ],
)
def test_answers_are_compared_where_there_are_several(tmp_path, bundle, voters):
    model = load_model(stored(tmp_path / "b", 1, bundle), CPU, "fp32", Wishes(quality=True))
    assert len(model.voters) == voters
    quality = segment(blob_volume(np.eye(4)), model).report.quality
    assert 0 < quality.agreement < 1
    assert (quality.expected_dice, quality.review) == (None, None)


def test_an_ensemble_that_knows_its_members_alone_is_judged_by_the_first(tmp_path):
    """What was compared on unseen cases were a member's own mirror images alone."""
    parts = folds(tmp_path)
    fit = QualityFit(0.1, 0.8, 0.7, 0.5, 0.9, 1.0, 1.0, 20, of_member=True)
    bundle, weights = joined(parts, "both")
    pack(replace(bundle, quality=fit), weights, tmp_path / "both", "card")
    image = blob_volume(np.eye(4))
    alone, together = (
        segment(image, load_model(one, CPU, "fp32", Wishes(quality=True))).report.quality
        for one in (parts[0], read_bundle(tmp_path / "both"))
    )
    assert together.agreement == alone.agreement < 1
    assert together.expected_dice == pytest.approx(0.1 + 0.8 * alone.agreement, abs=1e-4)


def test_what_was_measured_foretells_and_flags(tmp_path):
    fit = QualityFit(0.0, 1.0, 0.7, 0.99, 0.9, 1.0, 1.0, 20)
    bundle = replace(volume_bundle(), flip_axes=(0,), quality=fit)
    whole = stored(tmp_path / "b", 1, bundle)
    assert whole.quality == fit
    quality = segment(blob_volume(np.eye(4)), load_model(whole, CPU, "fp32", Wishes(quality=True))).report.quality
    assert quality.expected_dice == pytest.approx(quality.agreement, abs=1e-4)
    assert quality.review is True
    assert segment(blob_volume(np.eye(4)), load_model(whole, CPU, "fp32")).report.quality is None


def test_a_network_with_one_answer_has_nothing_to_compare(tmp_path):
    with pytest.raises(UsageError, match="has one answer only"):
        load_model(stored(tmp_path / "b", 1, volume_bundle()), CPU, "fp32", Wishes(quality=True))


def test_fast_is_the_shallowest_depth_that_is_nearly_the_best():
    scores = tuple(DepthScore(n, d, 0.1, 10) for n, d in ((1, 0.7), (2, 0.895), (3, 0.905), (4, 0.9)))
    assert fast_depth(scores, "b") == 2
    with pytest.raises(UsageError, match="--fast: no depths"):
        fast_depth((), "b")
