import json
from dataclasses import replace

import numpy as np
import pytest

from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Manifest
from medseg.domain.spec import from_plain, to_plain
from medseg.engines.plan import TrainSpec, class_names, default_plan, target_classes, to_target
from medseg.networks.build import NETWORKS, build_network

ORGANS = LabelTable((Label(3, "spleen", (9, 9, 9)), Label(700, "liver", (0, 9, 9))))
CELLS = LabelTable((Label(1, "nucleus", (9, 9, 9)),), "instances")
VOLUMES = Manifest("m", "", "", "", "", "MR", 3, 1, ORGANS, ())
PICTURES = replace(VOLUMES, modality="microscopy", spatial_dims=2, channels=3, labels=CELLS)


@pytest.mark.parametrize("manifest", [VOLUMES, PICTURES, replace(PICTURES, labels=ORGANS, channels=1)])
@pytest.mark.parametrize("preset", NETWORKS)
def test_a_plan_comes_back_from_json(manifest, preset):
    """The plan of pictures, whose spacing is None and so left out, was refused for a missing key."""
    spec = default_plan(manifest, preset, steps=7, seed=3)
    assert from_plain(TrainSpec, json.loads(json.dumps(to_plain(spec)))) == spec


@pytest.mark.parametrize("manifest", [VOLUMES, PICTURES])
def test_a_plan_fits_its_manifest(manifest):
    spec = default_plan(manifest)
    assert spec.network.in_channels == spec.preprocess.channels == manifest.channels
    assert spec.network.out_channels == target_classes(manifest) == 1 + len(class_names(manifest)) == 3
    assert len(spec.batch.size) == len(spec.window.size) == spec.network.spatial_dims == manifest.spatial_dims
    build_network(replace(spec.network, widths=(2, 2)))


def test_label_values_become_class_indices_in_the_order_of_the_table():
    target = to_target(VOLUMES)(np.array([[0, 3], [700, 3]], np.uint16))
    assert target.tolist() == [[0, 1], [2, 1]]
    assert target.dtype == np.uint8


def test_instances_become_interior_and_boundary():
    cells = np.zeros((12, 12), np.uint16)
    cells[1:8, 1:8] = 300
    target = to_target(PICTURES)(cells)
    assert target.dtype == np.uint8
    assert target[4, 4] == 1
    assert target[1, 1] == 2
    assert target[10, 10] == 0
