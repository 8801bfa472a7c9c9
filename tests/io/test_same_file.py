"""An output that is an input is found whatever path leads to it; its neighbour is not."""

import os
from pathlib import Path

import numpy as np
import pytest

from medseg.io.same_file import input_replaced, is_same
from tests.bundles import blob_volume
from tests.phantoms import dicom_folder

WAYS = {
    "itself": lambda place: place / "x" / "scan.png",
    "up and down": lambda place: place / "x" / ".." / "x" / "scan.png",
    "linked folder": lambda place: place / "link" / "scan.png",
    "link": lambda place: place / "link.png",
    "link to a link": lambda place: place / "second.png",
    "hard link": lambda place: place / "hard.png",
}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "scan.png").write_text("scan")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    (tmp_path / "link.png").symlink_to(tmp_path / "x" / "scan.png")
    (tmp_path / "second.png").symlink_to("link.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "x" / "scan.png")
    (tmp_path / "copy.png").write_text("scan")
    return tmp_path


@pytest.mark.parametrize("written", WAYS)
@pytest.mark.parametrize("read", WAYS)
def test_every_path_to_an_input_is_that_input(place, written, read):
    output, source = WAYS[written](place), WAYS[read](place)
    assert input_replaced([place / "new.png", output], [place / "copy.png", source]) == output
    assert input_replaced([place / "new.png", place / "copy.png"], [source]) is None


def test_where_nothing_is_yet_the_place_counts(place):
    assert input_replaced([place / "link" / "new.png"], [place / "x" / ".." / "x" / "new.png"]) is not None
    assert is_same(place / "link", place / "x" / "")
    assert not is_same(place / "link", place)


def test_an_image_in_a_folder_is_an_input_and_what_lies_beside_it_is_none(tmp_path):
    series = dicom_folder(tmp_path / "scan" / "deep", blob_volume(np.diag([-1.0, -1.0, 2.0, 1])))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.dcm").symlink_to(series.paths[2])
    (tmp_path / "scan" / "scan_preview.png").write_text("an output of an earlier run")
    assert input_replaced([tmp_path / "elsewhere" / "link.dcm"], [tmp_path / "scan"])
    assert input_replaced([series.paths[3]], [tmp_path / "scan"])
    assert input_replaced([tmp_path / "scan" / "deep"], [tmp_path / "scan" / "deep"])
    assert input_replaced([tmp_path / "scan" / "scan_preview.png"], [tmp_path / "scan"]) is None


def test_folders_that_are_linked_are_followed_once(tmp_path):
    series = dicom_folder(tmp_path / "store", blob_volume(np.diag([-1.0, -1.0, 2.0, 1])))
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "scan" / "loop").symlink_to(tmp_path / "scan")
    assert input_replaced([series.paths[0]], [tmp_path / "scan"]) == series.paths[0]


def test_no_file_of_a_folder_is_looked_at_twice_and_none_where_no_output_exists(tmp_path, monkeypatch):
    (tmp_path / "scan").mkdir()
    for n in range(50):
        (tmp_path / "scan" / f"{n}.dcm").write_text("x")
    (tmp_path / "old.png").write_text("x")
    opened = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: opened.append(folder) or scandir(folder))
    assert input_replaced([tmp_path / "new.png"], [tmp_path / "scan"] * 3) is None
    assert opened == []
    assert input_replaced([tmp_path / "old.png", tmp_path / "new.png"], [tmp_path / "scan"] * 3) is None
    assert [*map(Path, opened)] == [tmp_path / "scan"]
