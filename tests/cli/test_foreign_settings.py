"""What a user may set in a bundle that somebody else wrote: the inferer's windows, and what the bundle shows."""

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.store import find_any
from medseg.cli.foreign import as_settings, parse_settings
from medseg.domain.errors import UsageError
from medseg.io.nifti import write_nifti_image
from tests.bundle.zoo import write_form
from tests.bundles import blob_volume
from tests.commands import medseg
from tests.phantoms import orientations


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The form whose spacing and windows are the user's choice."""
    return write_form(tmp_path_factory.mktemp("theirs") / "b", "wholeBody_ct")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    volume = blob_volume(orientations((0.8, 1.2, 2.0))["LPS"], (40, 30, 20))
    path = tmp_path_factory.mktemp("scan") / "a.nii.gz"
    write_nifti_image(volume.voxels[0], volume.geometry, path)
    return path


def spacing_of(stored):
    return next(step for step in stored.preprocessing if step.name == "Spacingd").arguments["pixdim"]


def test_settings_go_where_their_ids_say(bundle):
    plain = find_any(str(bundle))
    assert (plain.inferer.arguments["overlap"], spacing_of(plain)) == (0.25, [1.5, 1.5, 1.5])
    assert find_any(str(bundle), {"inferer#overlap": 0.6}).inferer.arguments["overlap"] == 0.6
    assert find_any(str(bundle), {"displayable_configs#sw_overlap": 0.5}).inferer.arguments["overlap"] == 0.5
    assert spacing_of(find_any(str(bundle), {"displayable_configs#highres": False})) == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("name", ["network_def#in_channels", "displayable_configs#new", "inferer#_target_", "x#y"])
def test_nothing_else_is_set(bundle, name):
    with pytest.raises(UsageError, match=r"not an option of this bundle; it has --displayable_configs#highres"):
        find_any(str(bundle), {name: 1})


def test_the_command_line_has_two_ways_of_saying_it():
    """A text that the config's language would evaluate is no value."""
    assert as_settings(["a", "--inferer#overlap", "0.6", "--x#y=z"]) == [
        "a",
        "--set",
        "inferer#overlap=0.6",
        "--set",
        "x#y=z",
    ]
    assert parse_settings(["inferer#overlap=0.6", "a#b=true", "c#d=[1, 2]"]) == {
        "inferer#overlap": 0.6,
        "a#b": True,
        "c#d": [1, 2],
    }
    for text in ("a#b", "a#b=", "a#b=$open('x')", "a#b=@c", "a#b=%c"):
        with pytest.raises(UsageError):
            parse_settings([text])


def segment(scan, bundle, folder, *more):
    done = medseg("segment", scan, "-b", bundle, "-o", folder, "-q", "--json", "--device", "cpu", *more)
    assert (done.code, done.err) == (0, "")
    (report,) = done.json
    return report, np.asarray(nib.load(folder / "a_seg.nii.gz").dataobj)


def test_both_ways_give_the_same_mask_and_more_windows(scan, tmp_path):
    spleen = write_form(tmp_path / "b", "spleen_ct")
    plain, _ = segment(scan, spleen, tmp_path / "plain")
    one, mask = segment(scan, spleen, tmp_path / "one", "--inferer#overlap", "0.75")
    other, same = segment(scan, spleen, tmp_path / "other", "--set", "inferer#overlap=0.75")
    assert one["windows"] == other["windows"] > plain["windows"]
    assert np.array_equal(mask, same)
    assert not [note for note in one["notes"] if "MONAI's own" in note]


def test_what_the_bundle_shows_changes_the_mask_and_the_report_tells_whose_windows_they_were(bundle, scan, tmp_path):
    """Padding by edge values is not what our windows do."""
    report, fine = segment(scan, bundle, tmp_path / "plain")
    _, coarse = segment(scan, bundle, tmp_path / "coarse", "--displayable_configs#highres=false")
    assert not np.array_equal(fine, coarse)
    assert "windows placed and blended by MONAI's own SlidingWindowInferer" in report["notes"]
