import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label
from skimage.measure import regionprops

from medseg.cli.demo_images import fluorescence_field
from medseg.domain.errors import UsageError

FIELDS = {seed: fluorescence_field(seed) for seed in (0, 1)}


@pytest.fixture(params=FIELDS, ids=str)
def field(request):
    return FIELDS[request.param]


def test_it_holds_just_as_many_nuclei_as_asked_for_each_in_one_piece(field):
    picture, instances = field
    assert (picture.dtype, instances.dtype, picture.shape, instances.shape) == (
        np.uint8, np.uint16, (384, 512), (384, 512))  # fmt: skip
    assert np.unique(instances).tolist() == list(range(61))
    assert all(label(instances == number)[1] == 1 for number in range(1, 61))


def test_nuclei_have_the_size_of_nuclei_and_none_is_cut_off(field):
    diameters = [region.equivalent_diameter_area for region in regionprops(field[1])]
    assert min(diameters) > 17
    assert max(diameters) < 33
    assert np.ptp(diameters) > 8
    edge = np.ones(field[1].shape, bool)
    edge[1:-1, 1:-1] = False
    assert not field[1][edge].any()


def test_some_touch_so_that_counting_needs_to_part_them(field):
    _, clumps = label(field[1] > 0, np.ones((3, 3)))
    assert 20 < clumps < 55


def test_it_looks_like_fluorescence(field):
    """A dark ground, uneven brightness, soft edges, and no nucleus lost in the noise."""
    picture, instances = field
    away = picture[~binary_dilation(instances > 0, iterations=12)]
    means = np.array([region.intensity_mean for region in regionprops(instances, picture)])
    assert 4 < np.median(away) < 20
    assert 0 < away.std() < 5
    assert means.min() > np.median(away) + 6 * away.std()
    assert np.percentile(means, 90) > 1.5 * np.percentile(means, 10)
    assert np.mean(picture == 255) < 0.005


def test_a_seed_is_a_field():
    for n in (0, 1):
        again = fluorescence_field(seed=3, size=(200, 150), count=5)[n]
        assert (fluorescence_field(seed=3, size=(200, 150), count=5)[n] == again).all()
        assert (fluorescence_field(seed=4, size=(200, 150), count=5)[n] != again).any()


def test_too_many_are_refused():
    with pytest.raises(UsageError, match="60 nuclei do not fit into 120 x 90"):
        fluorescence_field(size=(120, 90))
    with pytest.raises(UsageError, match="do not fit"):
        fluorescence_field(size=(20, 20), count=1)
