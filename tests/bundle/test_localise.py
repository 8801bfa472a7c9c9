"""A bundle learns where to look, and is believed only if its template is the one that it names."""

import json
from dataclasses import replace

import numpy as np
import pytest

from medseg.bundle.bundle import FieldOfView, Localiser, Region
from medseg.bundle.localise import add_localiser
from medseg.bundle.pack import pack
from medseg.bundle.reader import read_bundle
from medseg.bundle.template import TEMPLATE, load_template
from medseg.domain.box import Box
from medseg.domain.errors import BundleError, UsageError
from medseg.domain.geometry import Geometry
from medseg.io.nifti import write_nifti_image
from tests.bundles import grey_bundle, stored_bundle, volume_bundle
from tests.commands import medseg

VIEW = FieldOfView((8.0, 8.0, 8.0), (20.0, 20.0, 20.0))
REGIONS = (
    Region("left", Box((-9.0, 2.0, 3.0), (10.0, 12.0, 14.0))),
    Region("right", Box((9.0, 2, 3), (10.0, 12.0, 14.0))),
)
LOCALISER = Localiser("0" * 64, REGIONS, 0.6, (0.7, 1.4), 0.6)


def write_template(path, edge_mm=4.0, dtype=np.uint8, outside=0):
    voxels = np.full((12, 14, 10), outside, dtype)
    voxels[2:-2, 2:-2, 2:-2] = np.arange(8 * 10 * 6).reshape(8, 10, 6) % 200 + 1
    write_nifti_image(voxels, Geometry(voxels.shape, np.diag([edge_mm, edge_mm, edge_mm, 1])), path)
    return path


@pytest.fixture
def crops(tmp_path):
    """A bundle of crops, without a localiser."""
    return stored_bundle(replace(volume_bundle(), field_of_view=VIEW), tmp_path / "b")


@pytest.fixture
def files(tmp_path):
    (tmp_path / "terms.txt").write_text("Do as you like.\n")
    return write_template(tmp_path / "t.nii.gz"), tmp_path / "terms.txt"


def test_what_is_added_is_read(crops, files):
    assert load_template(crops) is None
    changed = add_localiser(crops, *files, REGIONS)
    stored = read_bundle(crops.folder)
    assert stored == changed
    assert stored.localiser.regions == REGIONS
    assert replace(stored, localiser=None, version="0.1.0") == crops
    template = load_template(stored)
    assert template.voxels.max() == 200
    metadata = json.loads((crops.folder / "configs" / "metadata.json").read_text())
    assert list(metadata["changelog"]) == [metadata["version"], "0.1.0"] == ["0.2.0", "0.1.0"]
    assert (crops.folder / "docs" / "template_license.txt").read_text() == "Do as you like.\n"
    card = (crops.folder / "docs" / "README.md").read_text()
    assert "the regions left and right are found" in card
    assert "Larger images need" not in card


def test_the_command_adds_one(crops, files):
    template, terms = files
    regions = ["--region", f"left={REGIONS[0].box}", "--region", f"right={REGIONS[1].box}"]
    done = medseg("bundle", "localise", crops.folder, "--template", template, "--licence", terms, *regions)
    assert (done.code, done.out) == (0, ""), done.err
    assert "left -9,2,3,10,12,14" in medseg("bundle", "info", crops.folder).out
    assert medseg("bundle", "check", crops.folder).code == 0
    done = medseg(
        "bundle", "localise", crops.folder, "--template", template, "--licence", terms, "--region", "left=1,2"
    )
    assert (done.code, len(done.lines)) == (2, 1)


def test_another_template_than_the_named_one_is_refused(crops, files):
    stored = add_localiser(crops, *files, REGIONS)
    path = stored.folder / TEMPLATE
    content = path.read_bytes()
    for damaged in (content[:-1], content + b"\0", b""):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match=r"template.nii.gz: sha256 is .*copy the bundle again"):
            load_template(stored)
    path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_template(stored)
    path.write_bytes(content)
    assert load_template(stored) is not None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"edge_mm": 1.0}, "1 x 1 x 1 mm; resample it to 4 mm"),
        ({"dtype": np.int16}, "uint8"),
        ({"outside": 7}, "0 outside"),
    ],
)
def test_what_is_no_template_is_refused(crops, files, tmp_path, options, reason):
    with pytest.raises(BundleError, match=reason):
        add_localiser(crops, write_template(tmp_path / "bad.nii.gz", **options), files[1], REGIONS)
    assert read_bundle(crops.folder) == crops


@pytest.mark.parametrize(
    "change",
    [
        {"regions": ()},
        {"regions": (REGIONS[0], REGIONS[0])},
        {"regions": (replace(REGIONS[0], name="Left, or right"),)},
        {"regions": (Region("left", Box((float("inf"), 0, 0), (10, 10, 10))),)},
        {"regions": (Region("left", Box((0, 0, 0), (10, -10, 10))),)},
        {"worst_correlation": 0.0},
        {"worst_coverage": 1.1},
        {"scale": (1.4, 0.7)},
    ],
)
def test_limits_and_regions_that_are_none_are_refused(change):
    with pytest.raises(UsageError, match="localiser: "):
        replace(LOCALISER, **change)


def test_a_localiser_serves_bundles_of_crops_only():
    crops = replace(volume_bundle(), field_of_view=VIEW)
    assert replace(crops, localiser=LOCALISER).localiser == LOCALISER
    for bundle in (volume_bundle(), grey_bundle()):
        with pytest.raises(UsageError, match="a localiser serves"):
            replace(bundle, localiser=LOCALISER)
    large = replace(LOCALISER, regions=(Region("left", Box((0.0, 0.0, 0.0), (10.0, 12.0, 21.0))),))
    with pytest.raises(UsageError, match=r"region left .* is no field of view"):
        replace(crops, localiser=large)


def test_a_damaged_localiser_is_refused(crops, files):
    stored = add_localiser(crops, *files, REGIONS)
    path = stored.folder / "configs" / "metadata.json"
    whole = json.loads(path.read_text())
    for key, value in (
        ("regions", None),
        ("scale", [0.7]),
        ("worst_coverage", "0.6"),
        ("path", "/etc"),
        ("regions", []),
    ):
        damaged = json.loads(path.read_text()) | {"medseg": json.loads(json.dumps(whole["medseg"]))}
        damaged["medseg"]["localiser"][key] = value
        path.write_text(json.dumps(damaged))
        with pytest.raises(BundleError, match=r"localiser"):
            read_bundle(stored.folder)
    path.write_text(json.dumps(whole))
    assert read_bundle(stored.folder) == stored


def test_a_localiser_is_added_not_packed(tmp_path):
    crops = replace(volume_bundle(), field_of_view=VIEW)
    with pytest.raises(UsageError, match="medseg bundle localise"):
        pack(replace(crops, localiser=LOCALISER), {}, tmp_path / "b", "")
    assert not (tmp_path / "b").exists()
    pack(crops, {}, tmp_path / "b", "")
