"""The images of the self-tests of the shipped bundles: `python -m tests.bundle.selftest_images FOLDER` writes them.

Drawn, not scanned: nobody's data. They need not be anatomically right, but the networks find every label in them.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medseg.cli.demo_images import fluorescence_field
from medseg.domain.geometry import Geometry
from medseg.io.nifti import write_nifti_image


def hippocampus():
    """(X, Y, Z), uint8, mm: a bent grey cord, thicker in front, in white matter below a dark horn."""
    shape = (36, 52, 38)
    x, y, z = np.indices(shape).astype(float)
    forward = (y - 25.5) / 26
    across, above = x - 17.5 + 1.5 * forward, z - 18.5 + 4 * forward
    radius = 5.5 * (1 + 0.35 * forward)
    grey = np.full(shape, 160.0)
    grey[(np.hypot(across - 2, (above - 2) * 1.15) < radius + 1.2) & (abs(forward) < 0.8)] = 35
    grey[(above < -radius - 2) & (above > -radius - 6)] = 110
    grey[:3] = 35
    grey[(np.hypot(across, above * 1.15) < radius) & (abs(forward) < 0.75)] = 110
    return gaussian_filter(grey, 0.7).round().astype(np.uint8)


def brain():
    """(rows, columns), uint8: rings of a head, two ventricles and a bright disc in a darker one."""
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    head, angle = np.hypot(x / 0.72, y / 0.9), np.arctan2(y / 0.9, x / 0.72)
    grey = np.zeros_like(x)
    for outside, value in ((1, 110), (0.93, 20), (0.86, 70), (0.74 + 0.05 * np.cos(10 * angle), 95)):
        grey[head < outside] = value
    grey[np.hypot((abs(x) - 0.1) / 0.07, (y + 0.02) / 0.25) < 1] = 25
    for radius, value in ((0.24, 75), (0.12, 220)):
        grey[np.hypot(x - 0.33, (y - 0.22) * 1.1) < radius] = value
    return gaussian_filter(grey, 1).round().astype(np.uint8)


def nuclei():
    """(rows, columns), uint8: the field of the demonstration, with fewer nuclei."""
    return fluorescence_field(seed=0, size=(160, 128), count=8)[0]


IMAGES = {
    "hippocampus_mr_segmentation": hippocampus,
    "brain_tumor_mr_segmentation": brain,
    "nuclei_microscopy_segmentation": nuclei,
}


def main(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, draw in IMAGES.items():
        image = draw()
        if image.ndim == 3:
            write_nifti_image(image, Geometry(image.shape, np.eye(4)), Path(folder) / f"{name}.nii.gz")
        else:
            Image.fromarray(image).save(Path(folder) / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1])
