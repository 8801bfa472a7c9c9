"""Bundles with random weights that the scripts pack for themselves, and pictures for those of the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from peers import body, seeded_unet, smooth
from torch import Tensor

from medseg.bundle.bundle import Bundle, PostprocessSpec
from medseg.bundle.card import new_card
from medseg.bundle.pack import pack
from medseg.data.preprocess import PreprocessSpec
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelTable
from medseg.io.nifti import write_nifti_image
from medseg.networks.build import NetworkSpec
from medseg.windows import WindowSpec

ROOT = Path(__file__).parents[1]
NUCLEI = ROOT / "bundles" / "nuclei_microscopy_segmentation"


def organs(
    classes: int, widths: Sequence[int], window: WindowSpec, folder: Path, probe: Tensor, spacing_mm: float | None
) -> Bundle:
    """A CT bundle of a UNet with random weights, background included in `classes`; packed into the folder.

    probe:      (B, 1, *S) of images as `scan` makes them, on which every class is made to win somewhere.
    spacing_mm: of the network's grid; None leaves images on their own.
    """
    labels = LabelTable(
        tuple(Label(n, f"organ {n}", (n * 37 % 256, n * 91 % 256, n * 151 % 256)) for n in range(1, classes))
    )
    bundle = Bundle(
        name=folder.name,
        version="0.1.0",
        task="Segmentation of nothing",
        description="Random weights.",
        modality="CT",
        data_source="Generated.",
        data_licence="CC0-1.0",
        network=NetworkSpec("unet", 3, 1, classes, tuple(widths)),
        preprocess=PreprocessSpec(1, None if spacing_mm is None else (spacing_mm,) * 3, "zscore"),
        window=window,
        postprocess=PostprocessSpec("argmax"),
        labels=labels,
        weights_sha256="",
    )
    network = seeded_unet(classes, widths, probe)
    return pack(bundle, network.state_dict(), folder, new_card(bundle, 0, "Random weights."))


def scan(shape: Sequence[int], spacing_mm: float, path: Path) -> Tensor:
    """Write a body-like CT in Hounsfield units, int16; gives its normalised voxels (1, *S)."""
    image = body(shape)
    values = (image[0] * 200).clamp_(-1000, 2000).round_().to(torch.int16).numpy()
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    write_nifti_image(values, Geometry(tuple(shape), affine), path)
    return (image - image.mean()) / image.std()


def crops(image: Tensor, window: int) -> Tensor:
    """(2, 1, *S): a window in the middle of the image (1, *S) and one at its edge."""
    middle = [slice((n - window) // 2, (n + window) // 2) for n in image.shape[1:]]
    return torch.stack([image[(slice(None), *middle)], image[:, :window, :window, :window]])


def picture(shape: tuple[int, int], seed: int, path: Path) -> None:
    """Dark round things on bright, in colour, PNG."""
    from PIL import Image

    field = smooth((3, *shape, 2), seed, 8)[..., 0]
    dark = (field[0] > 0.6).float()
    grey = (220 - 140 * dark)[None] + 10 * field
    Image.fromarray(grey.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()).save(path)


KEEPING = """
import runpy, sys
from medseg.cli.memory import keep_freed_memory
keep_freed_memory()
sys.argv[0] = "monai.bundle"
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


def monai_run(bundle: Path, images: Path, output: Path, keep: bool) -> list[str]:
    """The arguments of `python` that let stock MONAI run a bundle on all files of a folder; keep: freed memory."""
    return [
        *(["-c", KEEPING] if keep else ["-m", "monai.bundle"]), "run",
        "--config_file", str(bundle / "configs" / "inference.json"),
        "--meta_file", str(bundle / "configs" / "metadata.json"),
        "--bundle_root", str(bundle), "--dataset_dir", str(images), "--output_dir", str(output),
    ]  # fmt: skip


def medseg_run(bundle: Path, images: Sequence[Path], output: Path, *more: str) -> list[str]:
    """The arguments of `python` that let medseg do it."""
    return ["-m", "medseg.cli.main", "segment", *map(str, images), "-b", str(bundle), "-o", str(output), "-q", *more]
