from dataclasses import replace

import numpy as np

from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Manifest
from medseg.engines.plan import to_target

ORGANS = LabelTable((Label(3, "spleen", (9, 9, 9)), Label(700, "liver", (0, 9, 9))))
CELLS = LabelTable((Label(1, "nucleus", (9, 9, 9)),), "instances")
VOLUMES = Manifest("m", "", "", "", "", "MR", 3, 1, ORGANS, ())
PICTURES = replace(VOLUMES, modality="microscopy", spatial_dims=2, channels=3, labels=CELLS)


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
