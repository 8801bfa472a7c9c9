import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.domain.errors import FieldOfViewError, UsageError
from medseg.domain.geometry import Geometry
from medseg.domain.volume import Volume
from medseg.inference.region import Box, crop_to_box, parse_box
from tests.phantoms import counted_volume, oblique, orientations

ORIENTATIONS = orientations((0.5, 0.75, 2.0), (-31.7, 12.25, 903.4))


def test_a_box_is_read_as_centre_and_size_in_mm():
    box = parse_box("27,-21.5,-1e1,35,52,36")
    assert box == Box((27.0, -21.5, -10.0), (35.0, 52.0, 36.0))
    assert parse_box(str(box)) == box


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7", "1,2,3,4,5,x", "1,2,3,4,5,0", "1,2,3,4,-5,6", "1,2,nan,4,5,6",
     "1,2,3,4,5,inf", "1;2;3;4;5;6", "1 2 3 4 5 6"],
)  # fmt: skip
def test_anything_else_is_no_box(text):
    with pytest.raises(UsageError, match="x,y,z,dx,dy,dz") as refused:
        parse_box(text)
    assert refused.value.exit_code == 2


def test_the_voxels_whose_centres_lie_in_the_box():
    volume = Volume(np.arange(1000).reshape(1, 10, 10, 10), Geometry((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0])), "x")
    part, start = crop_to_box(volume, Box((9.0, 8.0, 7.0), (4.0, 4.1, 2.1)), "x")
    assert start == (4, 3, 3)  # centres at 8 and 10; 6, 8 and 10; 6 and 8 mm
    assert part.geometry.shape_ijk == (2, 3, 2)
    assert (part.voxels == volume.voxels[:, 4:6, 3:6, 3:5]).all()


def places(volume):
    """Position in mm, rounded, and value of every voxel."""
    ijk = np.argwhere(np.ones(volume.geometry.shape_ijk))
    positions = np.round(volume.geometry.ijk_to_ras_mm(ijk.astype(float)), 3) + 0.0
    return dict(zip(map(tuple, positions.tolist()), volume.voxels[0].ravel().tolist(), strict=True))


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(ORIENTATIONS)), st.tuples(*[st.floats(0.3, 0.7)] * 3), st.tuples(*[st.floats(0.1, 1)] * 3)
)
def test_the_box_is_the_patients_whatever_the_order_of_the_axes(letters, centre, size):
    volume = counted_volume((6, 5, 4), ORIENTATIONS[letters])
    whole = places(volume)
    positions = np.array(list(whole))
    low, high = positions.min(0), positions.max(0)
    middle = low + np.array(centre) * (high - low)
    edges = np.array(size) * 2 * np.minimum(middle - low, high - middle)
    box = Box(tuple(middle.tolist()), tuple(edges.tolist()))
    inside = (np.abs(positions - middle) <= edges / 2).all(1)
    near = (np.abs(np.abs(positions - middle) - edges / 2) < 1e-3).any(1)  # rounding may take or leave them
    if near.any():
        return
    if not inside.any():
        with pytest.raises(FieldOfViewError, match="holds no voxel"):
            crop_to_box(volume, box, "x")
        return
    part, start = crop_to_box(volume, box, "x")
    assert places(part) == {position: value for position, value in whole.items() if tuple(position) in
                            set(map(tuple, positions[inside].tolist()))}  # fmt: skip
    assert np.allclose(part.geometry.affine_ras[:3, 3], volume.geometry.ijk_to_ras_mm(np.array(start, float)))


def test_a_box_may_reach_out_by_half_a_voxel_and_no_further():
    """The outermost half voxel is image; so is what a box of rounded numbers may want beyond it."""
    volume = counted_volume((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    for reach, accepted in ((0.0, True), (0.5, True), (1.0, True), (1.02, False), (5.0, False)):
        for side in (-1, 1):
            centre = [9.0, 9.0, 9.0]
            centre[1] += side * (4.0 + reach * 2)  # the box ends `reach` voxels beyond the outermost centre
            box = Box(tuple(centre), (10.0, 10.0, 10.0))
            if accepted:
                part, _ = crop_to_box(volume, box, "x")
                assert part.geometry.shape_ijk == (6, 6 - (reach > 0), 6)
            else:
                with pytest.raises(FieldOfViewError, match=r"reaches out of the image, which spans .* mm") as refused:
                    crop_to_box(volume, box, "knee.nii")
                assert refused.value.exit_code == 3
                assert "knee.nii" in str(refused.value)


def test_a_box_between_voxels_is_refused():
    """It became a grid without voxels."""
    volume = counted_volume((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    with pytest.raises(FieldOfViewError, match="holds no voxel of 2 x 2 x 2 mm"):
        crop_to_box(volume, Box((9.0, 9.0, 9.0), (1.0, 6.0, 6.0)), "x")


def test_of_an_oblique_image_all_voxels_in_the_box_are_taken():
    volume = counted_volume((20, 20, 20), oblique(np.diag([1.0, 1.0, 1.0, 1.0]), (20, 30, 10)))
    centre = volume.geometry.ijk_to_ras_mm(np.array([9.5, 9.5, 9.5]))
    part, _ = crop_to_box(volume, Box(tuple(centre.tolist()), (6.0, 5.0, 4.0)), "x")
    taken = places(part)
    for position, value in places(volume).items():
        if (np.abs(np.array(position) - centre) <= (3, 2.5, 2)).all():
            assert taken[position] == value


def test_a_picture_is_cut_in_its_plane():
    geometry = Geometry((10, 8), np.diag([-0.5, -0.5, 1.0, 1.0]))
    picture = Volume(np.arange(80, dtype=np.uint8).reshape(1, 10, 8), geometry, "x")
    part, start = crop_to_box(picture, Box((-2.0, -1.5, 0.0), (1.1, 1.1, 1.0)), "x")
    assert start == (3, 2)
    assert (part.voxels == picture.voxels[:, 3:6, 2:5]).all()
