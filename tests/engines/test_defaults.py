"""What is suggested fits the data and the device, and every choice has its reason."""

import json
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.bundle.describe import describe
from medseg.data.fingerprint import Fingerprint
from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Manifest
from medseg.domain.spec import from_plain, to_plain
from medseg.engines.defaults import Device, suggest
from medseg.engines.plan import TrainSpec, class_names, target_classes
from medseg.networks.build import NETWORKS, build_network

ORGANS = LabelTable((Label(3, "spleen", (9, 9, 9)), Label(700, "liver", (0, 9, 9))))
CELLS = LabelTable((Label(1, "nucleus", (9, 9, 9)),), "instances")
VOLUMES = Manifest("m", "", "", "", "", "MR", 3, 1, ORGANS, ())
PICTURES = replace(VOLUMES, modality="microscopy", spatial_dims=2, channels=3, labels=CELLS)
CPU, GPU = Device("cpu", 24 << 30), Device("cuda", 80 << 30)
SEEN_3D = Fingerprint(
    3, 1, 100, 64, (36, 51, 36), (30, 40, 30), (40, 60, 40), (1.0, 1.0, 1.5), (9.0, 14.0), 31, 0.05, (0.02, 0.03),
    (-100.0, 200.0, 50.0, 30.0), 10.0,
)  # fmt: skip
SEEN_2D = replace(
    SEEN_3D, spatial_dims=2, channels=3, shape=(256, 300), shape_low=(256, 256), shape_high=(700, 520),
    spacing_mm=None, label_shares=(0.05,),
)  # fmt: skip
PAIRS = [(VOLUMES, SEEN_3D), (PICTURES, SEEN_2D), (replace(PICTURES, labels=ORGANS, channels=1), SEEN_2D)]


@pytest.mark.parametrize(("manifest", "seen"), PAIRS)
@pytest.mark.parametrize("preset", NETWORKS)
def test_a_plan_comes_back_from_json(manifest, seen, preset):
    """The plan of pictures, whose spacing is None and so left out, was refused for a missing key."""
    spec = suggest(manifest, seen, CPU, preset, steps=7, seed=3).spec
    assert (spec.steps, spec.seed, spec.network.preset) == (7, 3, preset)
    assert from_plain(TrainSpec, json.loads(json.dumps(to_plain(spec)))) == spec


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(("manifest", "seen"), PAIRS)
def test_a_plan_fits_its_manifest_and_is_explained(manifest, seen, device):
    suggestion = suggest(manifest, seen, device)
    spec, reasons = suggestion.spec, suggestion.reasons
    assert spec.network.in_channels == spec.preprocess.channels == manifest.channels
    assert spec.network.out_channels == target_classes(manifest) == 1 + len(class_names(manifest)) == 3
    assert len(spec.batch.size) == len(spec.window.size) == spec.network.spatial_dims == manifest.spatial_dims
    build_network(replace(spec.network, widths=(2, 2)))
    plain = to_plain(spec)
    assert {key.split(".")[0] for key in reasons} <= set(plain)
    assert {"batch.size", "batch.count", "network.widths", "augment", "preprocess.normalise"} <= set(reasons)


@settings(max_examples=60)
@given(st.tuples(*[st.integers(1, 900)] * 3), st.sampled_from([CPU, GPU]))
def test_patches_are_affordable_even_and_no_larger_than_needed(shape, device):
    spec = suggest(VOLUMES, replace(SEEN_3D, shape=shape), device).spec
    patch = (spec.network.options or {}).get("patch", 1)
    assert all(n % (8 * patch) == 0 for n in spec.batch.size)
    assert all(size < n + 8 * patch for size, n in zip(spec.batch.size, shape, strict=True) if size > 8 * patch)
    assert prod(spec.batch.size) <= {"cpu": 32 * 48 * 32, "cuda": 128**3}[device.kind]


def test_cut_patches_keep_the_shape_of_the_image():
    assert suggest(VOLUMES, SEEN_3D, CPU).spec.batch.size == (32, 48, 32)


@pytest.mark.parametrize(
    ("shape", "device", "widths"),
    [
        ((36, 50, 35), CPU, (16, 32, 64, 128)),
        ((200, 200, 20), GPU, (16, 32, 64, 128)),
        ((20, 20, 20), GPU, (16, 32, 64)),
    ],
    ids=["its longest edge would fall to 3 voxels", "thin, but wide", "small"],
)
def test_levels_leave_something_to_look_at(shape, device, widths):
    seen = replace(SEEN_3D, shape=shape, piece_voxels=(13.5, 20.0))
    assert suggest(VOLUMES, seen, device).spec.network.widths == widths


def test_small_things_get_every_voxel_and_large_ones_patches_on_a_cpu_only():
    patches = [
        (suggest(VOLUMES, replace(SEEN_3D, piece_voxels=(small, 20.0)), device).spec.network.options or {}).get("patch")
        for small, device in ((15.9, CPU), (16.0, CPU), (16.0, GPU))
    ]
    assert patches == [None, 2, None]


def test_small_things_in_pictures_get_wider_patches():
    """Nuclei were learned faster by 2-pixel patches of 32 channels than by single pixels of 16."""
    networks = [
        suggest(PICTURES, replace(SEEN_2D, piece_voxels=(small, 40.0)), device).spec.network
        for small, device in ((15.9, CPU), (16.0, CPU), (15.9, GPU))
    ]
    assert [(network.options, network.widths[0]) for network in networks] == [
        ({"patch": 2}, 32),
        ({"patch": 2}, 16),
        (None, 16),
    ]


@pytest.mark.parametrize(("small", "size"), [(19.0, (256, 256)), (8.3, (192, 192))])
def test_slices_of_large_things_are_learned_whole(small, size):
    spec = suggest(PICTURES, replace(SEEN_2D, shape=(256, 256), piece_voxels=(small, 40.0)), CPU).spec
    assert (spec.batch.size, spec.batch.count, spec.window.size) == (size, 6, (256, 256))


@pytest.mark.parametrize(("steps", "between"), [(4, 1), (60, 15), (799, 200), (None, 200)])
def test_short_trainings_are_validated_and_kept_on_the_way(steps, between):
    """A training of 60 steps kept nothing until its end."""
    spec = suggest(VOLUMES, SEEN_3D, CPU, steps=steps).spec
    assert spec.epoch_steps == between


def test_less_memory_means_fewer_patches_and_never_less_than_two():
    counts = [suggest(VOLUMES, SEEN_3D, Device("cpu", n << 20)).spec.batch.count for n in (1, 64, 128, 64_000)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (2, 8)


def test_ct_is_scaled_by_its_units_and_mr_by_itself():
    assert suggest(VOLUMES, SEEN_3D, CPU).spec.preprocess.normalise == "zscore"
    scaled = suggest(replace(VOLUMES, modality="CT"), SEEN_3D, CPU).spec.preprocess
    assert (scaled.normalise, scaled.intensity_range) == ("range", (-100.0, 200.0))


def test_sides_are_not_mirrored():
    sided = LabelTable((Label(1, "left kidney", (9, 9, 9)), Label(2, "right kidney", (0, 9, 9))))
    plan = suggest(replace(VOLUMES, labels=sided), SEEN_3D, CPU)
    assert plan.spec.augment.flip_axes == ()
    assert "left kidney" in plan.reasons["augment"]
    assert suggest(VOLUMES, SEEN_3D, CPU).spec.augment.flip_axes == (0,)


def test_many_cases_are_changed_less():
    few, many = (suggest(VOLUMES, replace(SEEN_3D, cases=n), CPU).spec.augment for n in (50, 5000))
    assert many.spatial_chance < few.spatial_chance
    assert many.intensity_chance < few.intensity_chance


@pytest.mark.parametrize(("least_piece", "dropped"), [(3, 3), (49, 49), (4000, 50)])
@pytest.mark.parametrize(("manifest", "seen"), PAIRS)
def test_nothing_as_large_as_what_was_labelled_is_dropped_from_masks(manifest, seen, least_piece, dropped):
    """Every bundle dropped pieces below 50 voxels, or instances below 30, whatever had been labelled."""
    spec = suggest(manifest, replace(seen, least_piece=least_piece), CPU).spec
    assert describe("b", manifest, spec, None).postprocess.min_voxels == dropped <= least_piece
    assert describe("b", manifest, replace(spec, min_voxels=0), None).postprocess.min_voxels == 0


def test_instances_are_told_where_the_validation_cases_of_nuclei_were_told_best():
    spec = suggest(PICTURES, SEEN_2D, CPU).spec
    postprocess = describe("b", PICTURES, spec, None).postprocess
    assert (postprocess.decision, postprocess.marker_threshold, postprocess.foreground_threshold) == (
        "instances",
        0.6,
        0.7,
    )
