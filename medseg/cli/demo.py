"""`medseg demo`: the shipped bundles on images that come with a dependency, and a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medseg.domain.labels import LabelMap
    from medseg.domain.volume import Volume
    from medseg.inference.model import Model
    from medseg.reports.pages import Section


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of images, masks and the page.")] = Path(
        "demo_output"
    ),
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
) -> None:
    """Both hippocampi in a whole head, from NIfTI and from DICOM, and nuclei in a generated micrograph."""
    from medseg.cli.memory import keep_freed_memory

    keep_freed_memory()
    from medseg.io.files import require_writable
    from medseg.reports.pages import write_page

    require_writable(output)
    sections = [*_brain(output, quiet), *_nuclei(output, quiet), _next_steps()]
    page = output / "index.html"
    write_page(page, "medseg demo", sections)
    if not quiet:
        print(f"\nThe page with pictures: {page.resolve()}")
        print("Your own data: medseg segment SCAN.nii.gz -b BUNDLE -o OUT --preview (see medseg segment --help)")


def _brain(output: Path, quiet: bool) -> list[Section]:
    """MNI152, once as NIfTI and once as a DICOM series."""
    from medseg.inference.segment import segment
    from medseg.io.dicom_write import write_series
    from medseg.io.images import read_image
    from medseg.io.nifti import write_nifti, write_nifti_image
    from medseg.reports.pages import Figure, Section, Table
    from medseg.reports.preview import write_preview

    model = _load("hippocampus_mr_segmentation")
    template = _template()
    source, series = output / "mni152_t1.nii.gz", output / "mni152_t1_dicom"
    write_nifti_image(template.voxels[0], template.geometry, source)
    if not series.exists():
        write_series(template, series)
    images = {"NIfTI": read_image(source), "DICOM": read_image(series)}
    results = {form: segment(image, model) for form, image in images.items()}
    for form, result in results.items():
        write_nifti(result.label_map, output / f"{images[form].case}_seg.nii.gz", images[form])
    write_preview(images["NIfTI"], results["NIfTI"].label_map, output / "mni152_t1_preview.png")

    labelled = [_places(result.label_map) for result in results.values()]
    differing, total = len(labelled[0] ^ labelled[1]), len(labelled[0])
    rows = [
        (str(one.region), one.label, f"{one.volume_ml:.2f} ml", f"{other.volume_ml:.2f} ml")
        for one, other in zip(*(result.report.measures for result in results.values()), strict=True)
    ]
    if not quiet:
        for row in rows:
            print(f"hippocampus: {row[0]:5} {row[1]:22} {row[2]:>8} from NIfTI, {row[3]:>8} from DICOM")
        print(f"hippocampus: labelled voxels that differ between NIfTI and DICOM: {differing} of {total}")
    return [
        Section(
            "Both hippocampi in a whole head",
            paragraphs=(
                "The MNI152 T1 template (1 mm, from nilearn), once as NIfTI and once written as a DICOM series. "
                f"The two masks differ in {differing} of {total} labelled voxels.",
            ),
            table=Table(("side", "label", "from NIfTI", "from DICOM"), tuple(rows)),
            figures=(
                Figure(
                    "mni152_t1_preview.png",
                    "Anterior and posterior hippocampus; the patient's right is on the left. Above a plane its place: "
                    "I 19 mm is 19 mm below the template's origin. Below, what the grey frames hold.",
                ),
            ),
            code="medseg segment mni152_t1.nii.gz -b hippocampus_mr_segmentation -o OUT --preview",
        )
    ]


def _nuclei(output: Path, quiet: bool) -> list[Section]:
    """A generated fluorescence field, whose true count is known."""
    import numpy as np
    from PIL import Image

    from medseg.cli.demo_images import fluorescence_field
    from medseg.inference.segment import segment
    from medseg.io.files import whole_file
    from medseg.io.images import read_image
    from medseg.io.picture import write_picture_mask
    from medseg.metrics.instances import average_precision
    from medseg.reports.pages import Figure, Section
    from medseg.reports.preview import write_preview

    picture, truth = fluorescence_field()
    source = output / "generated_nuclei.png"
    with whole_file(source) as temporary:
        Image.fromarray(picture).save(temporary)
    volume = read_image(source)
    result = segment(volume, _load("nuclei_microscopy_segmentation"))
    write_picture_mask(result.label_map, output / "generated_nuclei_seg.png")
    write_preview(volume, result.label_map, output / "generated_nuclei_preview.png")
    found, true = result.report.measures[0].instances, len(np.unique(truth)) - 1
    precision = average_precision(result.label_map.voxels.T, truth, 0.5)
    if not quiet:
        print(f"nuclei: {found} found, {true} are there; AP@0.5 {precision:.3f} (a generated picture)")
    return [
        Section(
            "Nuclei in a generated fluorescence field",
            paragraphs=(
                f"The picture is generated, so its true count is known: {true} nuclei are there, {found} were found; "
                f"AP@0.5 is {precision:.3f}.",
            ),
            figures=(Figure("generated_nuclei_preview.png", "Each nucleus has a number of its own"),),
            code="medseg segment generated_nuclei.png -b nuclei_microscopy_segmentation -o OUT --preview",
        )
    ]


def _next_steps() -> Section:
    from medseg.reports.pages import Section

    return Section(
        "Your own data",
        paragraphs=(
            "A NIfTI file, a PNG or TIFF picture or a folder with one DICOM series; several inputs in one run. "
            "The bundles are for research, not for diagnosis.",
        ),
        code="medseg bundle list\nmedseg segment SCAN.nii.gz -b BUNDLE -o OUT --statistics --preview",
    )


def _load(name: str) -> Model:
    import torch

    from medseg.backends.precision import choose_precision
    from medseg.bundle.store import find_bundle
    from medseg.inference.model import load_model

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return load_model(find_bundle(name), device, choose_precision("auto", device))


def _template() -> Volume:
    """nilearn's MNI152 T1 template as int16 of 0..1000, with columns of a multiple of 8."""
    import warnings

    import numpy as np

    from medseg.domain.errors import UsageError
    from medseg.domain.geometry import Geometry
    from medseg.domain.volume import Volume

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nilearn.datasets import load_mni152_template

            image = load_mni152_template(resolution=1)
    except ImportError as error:
        raise UsageError("the demo needs nilearn for its image: pip install 'medseg[demo]'") from error
    values = np.asarray(image.dataobj, dtype=np.float64)
    voxels = np.round(values / values.max() * 1000).astype(np.int16)
    voxels = np.pad(voxels, ((0, -len(voxels) % 8), (0, 0), (0, 0)))  # columns that OHIF and Weasis read right
    return Volume(voxels[None], Geometry(voxels.shape, image.affine), "mni152_t1", "MR")


def _places(label_map: LabelMap) -> set[tuple[float, ...]]:
    """Position in mm, to a hundredth, and value of every labelled voxel."""
    import numpy as np

    where = np.argwhere(label_map.voxels)
    positions = np.round(label_map.geometry.ijk_to_ras_mm(where.astype(np.float64)), 2) + 0.0  # no minus zero
    values = label_map.voxels[tuple(where.T)].astype(np.float64)
    return set(map(tuple, np.column_stack([positions, values]).tolist()))
