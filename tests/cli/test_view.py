"""`medseg view`: what it finds, what it serves, and what it does not."""

import http.client
import json
import re
import threading
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.cli.serving import loopback_server
from medseg.cli.view import find_image, find_mask
from medseg.domain.errors import InputError, UsageError
from medseg.io.nifti import write_nifti, write_nifti_image
from tests.bundles import blob_volume
from tests.cli.conftest import AFFINE_RAS
from tests.commands import medseg
from tests.masks import ORGANS, mask_on
from tests.phantoms import dicom_folder, edit_all, orientations


@pytest.fixture
def case(tmp_path):
    """An image, its mask and the statistics that name the image."""
    volume = blob_volume(orientations()["PIR"], (12, 10, 9))
    write_nifti_image(volume.voxels[0], volume.geometry, tmp_path / "scan.nii.gz")
    (tmp_path / "out").mkdir()
    write_nifti(mask_on(volume.geometry), tmp_path / "out" / "scan_seg.nii.gz")
    (tmp_path / "out" / "scan_statistics.json").write_text(json.dumps({"source": str(tmp_path / "scan.nii.gz")}))
    return tmp_path


def test_an_exported_page_holds_everything_and_asks_for_nothing(case):
    done = medseg("view", case / "out", "--export", case / "page.html")
    assert done.code == 0, done.err
    page = (case / "page.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert "default-src 'none'" in page
    assert "connect-src 'none'" in page
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', page)[1])
    assert [(row["name"], row["value"]) for row in scene["labels"]] == [(x.name, x.value) for x in ORGANS]
    assert all(row["amount"].endswith(" ml") for row in scene["labels"])
    assert str(case) not in page
    assert medseg("view", case / "out", "--export", case / "page.html").code == 7
    assert medseg("view", case / "out", "--export", case / "page.html", "--overwrite", "-q").err == ""


def test_a_picture_and_its_mask(tmp_path):
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(tmp_path / "slide.png")
    Image.fromarray((np.arange(20).reshape(4, 5) > 12).astype(np.uint8)).save(tmp_path / "slide_seg.png")
    options = ("--image", tmp_path / "slide.png", "--export", tmp_path / "page.html")
    done = medseg("view", tmp_path / "slide_seg.png", *options)
    assert done.code == 0, done.err
    assert '"amount": "7 pixels"' in (tmp_path / "page.html").read_text()


def test_the_mask_of_another_image_is_refused(case):
    other = blob_volume(orientations()["RAS"], (12, 10, 8))
    write_nifti_image(other.voxels[0], other.geometry, case / "other.nii.gz")
    options = ("--image", case / "other.nii.gz", "--export", case / "page.html")
    done = medseg("view", case / "out", *options)
    assert (done.code, "does not lie on the image's voxels" in done.err) == (3, True)
    assert not (case / "page.html").exists()


def test_the_mask_and_the_image_are_found_or_asked_for(case):
    mask = case / "out" / "scan_seg.nii.gz"
    assert find_mask(case / "out") == find_mask(mask) == mask
    assert find_image(mask) == case / "scan.nii.gz"
    (case / "scan.nii.gz").rename(case / "moved.nii.gz")
    with pytest.raises(UsageError, match="is not there; say where the image is with --image"):
        find_image(mask)
    (case / "out" / "scan_statistics.json").unlink()
    with pytest.raises(UsageError, match="Give --image, or run segment with --statistics"):
        find_image(mask)
    write_nifti(mask_on(blob_volume(np.eye(4), (12, 10, 9)).geometry), case / "out" / "two_seg.nii.gz")
    with pytest.raises(UsageError, match=r"2 cases \(scan, two"):
        find_mask(case / "out")
    with pytest.raises(InputError, match="holds no mask"):
        find_mask(case)


def nan_in_a_voxel(place):
    volume = blob_volume(AFFINE_RAS)
    voxels = volume.voxels[0].astype(np.float32)
    voxels[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, volume.geometry.affine_ras), place / "scan.nii")
    return place / "scan.nii"


def no_affine(place):
    image = nib.Nifti1Image(blob_volume(AFFINE_RAS).voxels[0], np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, place / "scan.nii")
    return place / "scan.nii"


def two_affines(place):
    image = nib.Nifti1Image(blob_volume(AFFINE_RAS).voxels[0], AFFINE_RAS)
    moved = AFFINE_RAS.copy()
    moved[0, 3] += 30
    image.set_qform(moved, 1)
    nib.save(image, place / "scan.nii")
    return place / "scan.nii"


def two_volumes(place):
    volume = blob_volume(AFFINE_RAS)
    nib.save(nib.Nifti1Image(np.stack([volume.voxels[0]] * 2, -1), AFFINE_RAS), place / "scan.nii")
    return place / "scan.nii"


def two_series(place):
    for seed in "ab":
        dicom_folder(place / "scan" / seed, blob_volume(AFFINE_RAS), seed=seed)
    return place / "scan"


def a_slice_missing(place):
    dicom_folder(place / "scan", blob_volume(AFFINE_RAS)).paths[5].unlink()
    return place / "scan"


def a_bare_ct(place):
    edit_all(dicom_folder(place / "scan", blob_volume(AFFINE_RAS), modality="CT").paths, "RescaleSlope")
    return place / "scan"


DOUBTS = {
    nan_in_a_voxel: ("--nan", "fill=0"),
    no_affine: ("--assume", "RAS"),
    two_affines: ("--affine", "qform"),
    two_volumes: ("--volume", "1"),
    two_series: ("--series", "2"),
    a_slice_missing: ("--regrid",),
    a_bare_ct: ("--assume-hu", "--force", "MR"),
}


@pytest.mark.parametrize("make", DOUBTS, ids=lambda make: make.__name__)
def test_what_was_segmented_on_the_users_word_is_viewed_on_it(home, tmp_path, make):
    """Without the answer the page is refused as the segmentation was, with it the mask lies on the image."""
    image, answer = make(tmp_path), DOUBTS[make]
    done = medseg("segment", image, "-b", "organs", "-o", tmp_path / "out", "--statistics", *answer)
    assert done.code == 0, done.err
    view = ("view", tmp_path / "out", "--export", tmp_path / "page.html")
    refused = medseg(*view)
    assert (refused.code, len(refused.lines), (tmp_path / "page.html").exists()) == (3, 1, False), refused.err
    done = medseg(*view, *answer)
    assert done.code == 0, done.err
    scene = json.loads(re.search(r'id="scene">(.*?)</script>', (tmp_path / "page.html").read_text())[1])
    assert all(row["amount"].endswith(" ml") for row in scene["labels"])


@pytest.mark.parametrize("make", [no_affine, two_affines], ids=lambda make: make.__name__)
def test_the_mask_of_a_doubtful_affine_is_converted_on_the_users_word(home, tmp_path, make):
    image, answer = make(tmp_path), DOUBTS[make]
    assert medseg("segment", image, "-b", "organs", "-o", tmp_path / "out", *answer).code == 0
    convert = ("convert", tmp_path / "out" / "scan_seg.nii.gz", "-t", "seg-nrrd", "-o", tmp_path / "nrrd")
    assert medseg(*convert).code == 3
    done = medseg(*convert, *answer)
    assert done.code == 0, done.err


# The server


@pytest.fixture
def server():
    """One page behind a secret, and how to ask for things."""
    server, address = loopback_server(
        {"": ("text/html", b"page"), "a.js": ("text/javascript", b"1")}, "default-src 'none'"
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = urlsplit(address)

    def ask(path, method="GET", host=None):
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
        connection.request(method, path, headers={"Host": host or parts.netloc})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, answer.headers

    yield parts.path, ask, server
    server.shutdown()
    server.server_close()


def test_only_this_machine_is_served(server):
    assert server[2].server_address[0] == "127.0.0.1"


def test_what_is_named_is_given_with_its_type_and_policy(server):
    secret, ask, _ = server
    assert len(secret) > 20
    status, body, headers = ask(secret)
    assert (status, body, headers["Content-Type"]) == (200, b"page", "text/html")
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
    assert ask(f"{secret}a.js")[1] == b"1"
    assert ask(f"{secret}a.js", "HEAD")[:2] == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/a.js", "{}b.js", "{}../a.js", "{}%2e%2e/etc/passwd", "{}../../../../etc/passwd", "//etc/passwd", "{}/"],
)
def test_nothing_else_is_there(server, path):
    secret, ask, _ = server
    assert ask(path.format(secret))[:2] == (404, b"not here\n")


def test_another_host_name_and_other_methods_are_refused(server):
    secret, ask, _ = server
    assert ask(secret, host="evil.example")[0] == 404
    assert ask(secret, "POST")[0] == 501
