"""Rows 37 to 62 of the table of inputs: NIfTI files, arrays, and what goes for any image."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.domain.labels import Label, LabelTable
from medseg.domain.manifest import Case, Manifest
from medseg.domain.spec import to_plain
from medseg.engines.plan import default_plan
from medseg.io.manifest import read_manifest, write_manifest
from medseg.windows import WindowSpec
from tests.bundles import blobs
from tests.inputs.row import Accepted, Row

SHAPE = (22, 18, 13)
AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.25, 0, -4], [0, 0, 1.5, 7], [0, 0, 0, 1]])
VOXELS = blobs(SHAPE)[0].astype(np.int16)
NAN = float("nan")

# Where the fields of a NIfTI-1 header stand, little-endian
DIM, PIXDIM, SLOPE, UNITS, CODES, SROW = 40, 76, 112, 123, 252, 280

Make = Callable[[Path], Path]


def content(
    voxels: NDArray[Any] = VOXELS,
    affine: NDArray[Any] = AFFINE,
    qform: NDArray[Any] | None = None,
    codes: tuple[int, int] = (1, 1),
    units: str = "mm",
    order: str = "<",
) -> bytes:
    """A plain .nii; codes of sform and qform. The qform is the affine, without its shear, unless it is given."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_sform(affine, codes[0])
    header.set_qform(affine if qform is None else qform, codes[1])
    header.set_xyzt_units(units)
    return bytes(nib.Nifti1Image(voxels, None, header).to_bytes())


def put(*changes: Any) -> Callable[[bytes], bytes]:
    """A function that puts numbers into a header: (place, format, numbers...) each."""

    def edit(data: bytes) -> bytes:
        edited = bytearray(data)
        for place, form, *numbers in changes:
            struct.pack_into("<" + form, edited, place, *numbers)
        return bytes(edited)

    return edit


def nii(data: bytes | Callable[[], bytes], name: str = "scan.nii") -> Make:
    """A maker of the file with these bytes, made only when the row is run."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data())
        return folder / name

    return make


def packed(data: bytes, level: int = 5) -> bytes:
    """Gzip, the same bytes every time."""
    return gzip.compress(data, level, mtime=0)


def with_values(*values: float, dtype: Any = np.float32) -> NDArray[Any]:
    """The image with these numbers in its middle."""
    voxels = VOXELS.astype(dtype)
    voxels[10, 9, 5 : 5 + len(values)] = values
    return voxels


def lies_at(affine: NDArray[Any]) -> Callable[[Accepted], None]:
    """The mask has the shape of the image and lies where this affine puts it."""

    def check(accepted: Accepted) -> None:
        assert accepted.mask.shape == SHAPE
        assert accepted.affine_ras is not None
        np.testing.assert_allclose(accepted.affine_ras, affine, atol=1e-5)
        spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
        np.testing.assert_allclose(accepted.report["spacing_mm"], spacing_mm, atol=1e-5)
        assert set(np.unique(accepted.mask)) == {0, 1, 5}

    return check


def has_shape(*shape: int) -> Callable[[Accepted], None]:
    """Of the mask."""

    def check(accepted: Accepted) -> None:
        assert accepted.mask.shape == shape

    return check


GOOD = nii(content())
MOVED = AFFINE + np.array([[0, 0, 0, 108], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
RAS = np.diag([1.0, 1.25, 1.5, 1.0])

SHEARED = np.array([[1.0, 0, 0.4, 0], [0, 1.0, 0.6, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
NO_AXES = put((CODES, "2h", 0, 0))(content())


def finds_centre_in(affine: NDArray[Any]) -> Callable[[Accepted], None]:
    """What was found lies in the box that this affine gives the image; of files whose mask keeps the doubt."""

    def check(accepted: Accepted) -> None:
        corners = (affine @ np.array([[0, 0, 0, 1], [*np.array(SHAPE) - 1, 1]]).T)[:3].T
        for measure in accepted.report["measures"]:
            centre = np.array(measure["centroid_ras_mm"])
            assert (centre > corners.min(0)).all(), centre
            assert (centre < corners.max(0)).all(), centre

    return check


def spacing_is(*spacing_mm: float) -> Callable[[Accepted], None]:
    """In the report."""

    def check(accepted: Accepted) -> None:
        np.testing.assert_allclose(accepted.report["spacing_mm"], spacing_mm, rtol=1e-5)

    return check


def mean_is_between(low: float, high: float) -> Callable[[Accepted], None]:
    """Of the intensities of what was found."""

    def check(accepted: Accepted) -> None:
        for measure in accepted.report["measures"]:
            assert low < measure["mean_intensity"] < high

    return check


def one_of_five(wanted: int) -> NDArray[Any]:
    """Five volumes, of which all but one are constant, so that the wrong one would be refused."""
    volumes = np.repeat(np.full(SHAPE, 7, np.int16)[..., None], 5, -1)
    volumes[..., wanted] = VOXELS
    return volumes


def coloured() -> bytes:
    return content(np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])))


def flipped(data: bytes, place: int) -> bytes:
    """One bit."""
    edited = bytearray(data)
    edited[place] ^= 4
    return bytes(edited)


def two_of_one_name(first: str, second: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        for name in (first, second):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content())
        return [folder / first, folder / second]

    return make


def sparse(folder: Path) -> Path:
    """1200 x 1200 x 1200 voxels of 2 bytes, none of which takes room on disk."""
    with (folder / "large.nii").open("wb") as file:
        file.write(put((DIM, "4h", 3, 1200, 1200, 1200))(content())[:352])
        file.truncate(352 + 2 * 1200**3)
    return folder / "large.nii"


def coarse() -> bytes:
    """Few voxels, many millimetres."""
    return content(blobs((64, 64, 64))[0].astype(np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))


def data_set(smaller: Sequence[int] = (), moved: Sequence[int] = ()) -> Make:
    """A manifest of four volumes, of which some masks are of another shape or lie elsewhere."""

    def make(folder: Path) -> Path:
        (folder / "data").mkdir()
        cases = []
        for number, split in enumerate(("train", "train", "train", "validation")):
            mask = np.ones((5, 5, 5) if number in smaller else SHAPE, np.uint8)
            affine = MOVED if number in moved else AFFINE
            (folder / "data" / f"image{number}.nii").write_bytes(content())
            (folder / "data" / f"mask{number}.nii").write_bytes(content(mask, affine))
            files = [folder / "data" / f"{kind}{number}.nii" for kind in ("image", "mask")]
            digests = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
            cases.append(
                Case(f"case{number}", f"image{number}.nii", f"mask{number}.nii", f"patient{number}", split, digests)
            )
        labels = LabelTable((Label(1, "blob", (255, 0, 0)),))
        words = ("blobs", "Blobs.", "Nobody 2024.", "CC0-1.0", "data", "MR")
        write_manifest(Manifest(*words, 3, 1, labels, tuple(cases)), folder / "blobs.json")
        return folder / "blobs.json"

    return make


def train(manifest: Path) -> list[object]:
    plan = default_plan(read_manifest(manifest), steps=1)
    network = replace(plan.network, widths=(4, 8))
    batch, window = replace(plan.batch, size=(8, 8, 8), count=1), WindowSpec((8, 8, 8))
    path = manifest.parent.parent / "plan.json"
    path.write_text(json.dumps(to_plain(replace(plan, network=network, batch=batch, window=window, epoch_steps=1))))
    return ["train", manifest, "-o", manifest.parent / "bundle", "--plan", path, "-q", "--device", "cpu"]


HTML = b"<!DOCTYPE html><html><body>404 not found</body></html>" * 20

AFFINE_ROWS = [
    Row(37, "NaN or infinity in a few voxels", nii(content(with_values(NAN, np.inf, -np.inf))), 3,
        "3 of 5148 voxels are NaN or infinite", nii(content(with_values(1, 2, 3))), answer=("--nan", "fill=0"),
        then="3 of 5148 voxels were NaN or infinite and became 0", check=lies_at(AFFINE)),
    Row(38, "sform and qform 108 mm apart", nii(content(qform=MOVED)), 3,
        r"disagree by up to 108\.0 mm.*sform \[-1 0 0 30; .*qform \[-1 0 0 138; ", GOOD, answer=("--affine", "sform"),
        then="of sform and qform the sform was taken", check=lies_at(AFFINE)),
    Row(38, "sform and qform 108 mm apart, the qform true", nii(content(qform=MOVED)), 3, "disagree by up to 108", GOOD,
        answer=("--affine", "qform"), then="the qform was taken", check=finds_centre_in(MOVED)),
    Row(38, "a sheared sform, its qform elsewhere", nii(content(affine=SHEARED, qform=MOVED)), 3, "disagree by up to",
        nii(content(affine=SHEARED)), answer=("--affine", "sform"), check=lies_at(SHEARED)),
    Row(39, "codes of sform and qform both 0", nii(NO_AXES), 3, "neither sform nor qform is set", GOOD,
        answer=("--assume", "RAS"), then="axes taken as right, anterior, superior", check=finds_centre_in(RAS)),
    Row(40, "sform singular", nii(put((SROW, "4f", 0, 0, 0, 0))(content())), 3, "the sform is singular", GOOD,
        answer=("--affine", "qform"), check=finds_centre_in(AFFINE)),
    Row(40, "sform holds NaN", nii(put((SROW + 4, "f", NAN))(content())), 3, "the sform is singular or not finite",
        GOOD),
    Row(41, "pixdim 0", nii(put((PIXDIM + 8, "f", 0.0))(content())), 3, r"voxel sizes \[1\.0, 0\.0, 1\.5\]", GOOD),
    Row(41, "pixdim negative", nii(put((PIXDIM + 4, "f", -1.0))(content())), 3, "positive sizes", GOOD),
    Row(42, "units metres", nii(content(affine=np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE, units="meter")), 0,
        "voxel sizes were in metres and were converted to mm", check=spacing_is(1, 1.25, 1.5)),
    Row(42, "units microns", nii(content(affine=np.diag([1e3, 1e3, 1e3, 1]) @ AFFINE, units="micron")), 0,
        "voxel sizes were in microns and were converted to mm", check=finds_centre_in(AFFINE)),
    Row(43, "voxels of 0.0015 mm", nii(content(affine=AFFINE @ np.diag([0.0015, 0.0015, 0.0015, 1]))), 3,
        r"voxels of 0\.0015 x 0\.001875 x 0\.00225 mm, bundle \w+ takes 0\.01 to 20 mm", GOOD),
    Row(43, "voxels of 50 mm", nii(content(affine=AFFINE @ np.diag([50, 50, 50, 1]))), 3, "takes 0.01 to 20 mm", GOOD),
    Row(44, "sheared affine", nii(content(affine=SHEARED)), 0, "", check=lies_at(SHEARED)),
    Row(45, "left-handed affine", GOOD, 0, "", check=lies_at(AFFINE)),
    Row(45, "right-handed affine", nii(content(affine=RAS)), 0, "", check=lies_at(RAS)),
]  # fmt: skip
SHAPE_ROWS = [
    Row(46, "4-D, one volume", nii(content(VOXELS[..., None])), 0, "", check=lies_at(AFFINE)),
    Row(47, "4-D, five volumes", nii(content(one_of_five(3))), 3, r"holds 5 volumes.*--volume 0 to 4",
        nii(content(one_of_five(3)[..., 3])), answer=("--volume", "3"), then="volume 3 of 0 to 4 was taken",
        check=lies_at(AFFINE)),
    Row(48, "2-D, for a 3-D bundle", nii(content(VOXELS[..., 0])), 3, "is a picture of .* takes a volume", GOOD),
    Row(48, "one slice, for a 3-D bundle", nii(content(VOXELS[..., :1])), 3, "22 x 18 x 1 voxels are too few", GOOD),
    Row(48, "3 x 3 x 3 voxels, smaller than a window", nii(content(VOXELS[:3, :3, :3])), 0, "",
        check=has_shape(3, 3, 3)),
    Row(49, "cut-off .nii.gz", nii(packed(content())[:-2000], "scan.nii.gz"), 3, "the file is cut off",
        nii(packed(content()), "scan.nii.gz"), check=lies_at(AFFINE)),
    Row(50, "one flipped bit in a gzip stream", nii(flipped(packed(content(), 0), 5000), "scan.nii.gz"), 3,
        "CRC check failed", nii(packed(content(), 0), "scan.nii.gz"), check=lies_at(AFFINE)),
    Row(50, "wrong gzip checksum", nii(flipped(packed(content()), -8), "scan.nii.gz"), 3, "CRC check failed",
        nii(packed(content()), "scan.nii.gz")),
    Row(51, "cut-off .nii", nii(content()[:-1000]), 3, "9296 of 10296 bytes of voxels", GOOD),
    Row(52, "empty file", nii(b""), 3, "not a NIfTI file", GOOD),
    Row(52, "text", nii(b"no image"), 3, "not a NIfTI file", GOOD),
    Row(52, "HTML error page named .nii.gz", nii(HTML, "scan.nii.gz"), 3, "not a NIfTI file",
        nii(packed(content()), "scan.nii.gz")),
    Row(52, "plain .nii named .nii.gz", nii(content(), "scan.nii.gz"), 0, "", check=lies_at(AFFINE)),
    Row(52, "gzip named .nii", nii(packed(content())), 0, "", check=lies_at(AFFINE)),
    Row(53, "header of 32767 x 32767 x 32767 voxels", nii(put((DIM, "4h", 3, 32767, 32767, 32767))(content())), 3,
        "the header claims 70362301923678 bytes, the file has 10648", GOOD),
    Row(53, "the same behind gzip", nii(packed(put((DIM, "4h", 3, 32767, 32767, 32767))(content()), 0), "scan.nii.gz"), 3,
        "the header claims 70362301923678 bytes", nii(packed(content()), "scan.nii.gz")),
    Row(53, "gzip bomb behind the voxels", nii(lambda: packed(content() + bytes(24 << 20)), "scan.nii.gz"), 3,
        "goes on for more than 16 MiB behind the voxels", nii(packed(content() + bytes(1000)), "scan.nii.gz")),
    Row(54, "an axis of 0 voxels", nii(put((DIM, "4h", 3, 22, 18, 0))(content())), 3, "at least one voxel", GOOD),
    Row(54, "an axis of -13 voxels", nii(put((DIM, "4h", 3, 22, 18, -13))(content())), 3, "at least one voxel", GOOD),
]  # fmt: skip
VALUE_ROWS = [
    Row(55, "scl_slope 2, scl_inter -1024", nii(put((SLOPE, "2f", 2.0, -1024.0))(content())), 0, "",
        check=mean_is_between(-1024, -514)),
    Row(55, "float64", nii(content(VOXELS.astype(np.float64))), 0, "", check=mean_is_between(0, 255)),
    Row(56, "scl_slope NaN", nii(put((SLOPE, "f", NAN))(content())), 3, "scales voxels by nan", GOOD),
    Row(57, "RGB24", nii(coloured), 3, "holds colour voxels", GOOD),
    Row(57, "complex numbers", nii(content(VOXELS.astype(np.complex64))), 3, "holds complex64 voxels", GOOD),
    Row(58, "int64", nii(content(VOXELS.astype(np.int64))), 0, "", check=lies_at(AFFINE)),
    Row(58, "uint64", nii(content(VOXELS.astype(np.uint64))), 0, "", check=lies_at(AFFINE)),
    Row(58, "big endian", nii(content(VOXELS.astype(">i2"), order=">")), 0, "", check=lies_at(AFFINE)),
    Row(59, "all zero", nii(content(VOXELS * 0)), 3, "every voxel is 0: the image is constant", GOOD),
    Row(59, "constant", nii(content(VOXELS * 0 + 7)), 3, "every voxel is 7: the image is constant", GOOD),
]  # fmt: skip
RUN_ROWS = [
    Row(60, "training: masks on other grids than their images", data_set([1], [2]), 3,
        r"2 of 3 cases cannot be used: mask1\.nii: shape.*mask2\.nii: lies elsewhere", data_set(), command=train),
    Row(61, "two inputs of one name", two_of_one_name("a/scan.nii", "b/scan.nii"), 2, "would both become",
        two_of_one_name("a/scan.nii", "b/other.nii")),
    Row(61, "scan.nii and scan.nii.gz", two_of_one_name("scan.nii", "scan.nii.gz"), 2, "would both become",
        two_of_one_name("scan.nii", "other.nii.gz")),
    Row(62, "more voxels than memory holds", sparse, 6, r"the image needs about 3\.2 GiB of memory, 2\.0 GiB are free",
        GOOD, memory_bytes=2 << 30),
    Row(62, "more of the network's voxels than memory holds", nii(coarse), 6,
        r"segmenting 64 x 64 x 64 voxels needs about 12\.2 GiB of memory, 2\.0 GiB are free", GOOD,
        answer=("--roi", "300,300,300,40,40,40"), check=has_shape(64, 64, 64), memory_bytes=2 << 30),
]  # fmt: skip

ROWS = [*AFFINE_ROWS, *SHAPE_ROWS, *VALUE_ROWS, *RUN_ROWS]
