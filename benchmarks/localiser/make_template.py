"""The template of hippocampus_mr_segmentation's localiser, from the MNI152 T1 brain that nilearn brings.

python benchmarks/localiser/make_template.py template.nii.gz

Cubes of 4 mm, uint8, the left half the mirror image of the right (as the source is), 0 outside of the brain.
"""

import sys
from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_template
from scipy import ndimage

from medseg.domain.geometry import Geometry
from medseg.io.nifti import write_nifti_image

EDGE_MM = 4.0
X, Y, Z = np.arange(-76, 77, 4.0), np.arange(-108, 77, 4.0), np.arange(-68, 85, 4.0)  # a dark rim on every side


def make_template() -> tuple[np.ndarray, Geometry]:
    """Voxels and grid."""
    source = load_mni152_template(resolution=1)
    brain = np.asarray(source.dataobj, np.float64)
    ijk = np.stack(np.meshgrid(X, Y, Z, indexing="ij")) - source.affine[:3, 3].reshape(3, 1, 1, 1)
    values, share = (
        ndimage.map_coordinates(ndimage.gaussian_filter(v, 0.42 * EDGE_MM), ijk, order=1)
        for v in (brain, ndimage.binary_fill_holes(brain > 0).astype(np.float64))
    )
    voxels = np.where(share > 0.5, np.clip(np.round(values / values.max() * 255), 1, 255), 0).astype(np.uint8)
    affine = np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0])
    affine[:3, 3] = X[0], Y[0], Z[0]
    return voxels, Geometry(voxels.shape, affine)


if __name__ == "__main__":
    write_nifti_image(*make_template(), Path(sys.argv[1]))
