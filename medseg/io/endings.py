"""Endings of image files: of the kinds that are read, and of others that people have."""

from __future__ import annotations

from pathlib import Path

PICTURE_ENDINGS = (".png", ".tif", ".tiff")
NRRD_ENDINGS = (".nrrd", ".nhdr")
NIFTI_ENDINGS = (".nii", ".nii.gz")
VOLUME_ENDINGS = (*NIFTI_ENDINGS, *NRRD_ENDINGS)
# Images of kinds that are not read. An .hdr belongs to an .img of the same name, a .raw or .zraw to its header.
UNREAD_VOLUMES = (
    *(".mha", ".mhd", ".img", ".img.gz", ".mgz", ".mgh", ".mgh.gz", ".mnc", ".minc", ".mif", ".mif.gz", ".gipl"),
    *(".nii.bz2", ".nii.zst", ".nii.xz", ".nii.lz4", ".nii.z", ".nii.zip", ".nrrd.gz", ".dcm", ".ima", ".dcm.gz"),
    *(".dcm.bz2", ".vtk", ".vti", ".czi", ".nd2", ".lif", ".lsm", ".svs", ".ndpi", ".ims", ".oib", ".oif", ".vsi"),
    *(".par", ".rec", ".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"),
)
UNREAD_PICTURES = (
    *(".jpg", ".jpeg", ".jfif", ".jp2", ".j2k", ".jpf", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".pnm", ".heic"),
    *(".avif", ".dng", ".png.gz", ".tif.gz", ".tiff.gz"),
)
READ_ENDINGS = (*VOLUME_ENDINGS, *PICTURE_ENDINGS)
_ALL = (*READ_ENDINGS, *UNREAD_VOLUMES, *UNREAD_PICTURES)


def image_ending(path: Path) -> str:
    """The ending that says that a file is an image, the longest that fits; empty for other files.

    >>> image_ending(Path("a/T1.nii.gz")), image_ending(Path("notes.txt"))
    ('.nii.gz', '')
    """
    name = path.name.lower()
    return max((ending for ending in _ALL if name.endswith(ending) and len(name) > len(ending)), key=len, default="")
