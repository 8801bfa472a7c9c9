"""A bundle of crops learns where to look in whole images: a template and boxes in it are added to its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.bundle import configs
from medseg.bundle.bundle import Bundle, Localiser, Region
from medseg.bundle.card import renew_view
from medseg.bundle.pack import write_json
from medseg.bundle.template import TEMPLATE, read_template, template_digest
from medseg.domain.errors import BundleError, UsageError
from medseg.io.files import whole_file, write_text

# Measured with the MNI152 head; see docs/localiser.md.
_WORST_CORRELATION, _SCALE, _WORST_COVERAGE = 0.6, (0.7, 1.4), 0.6


def add_localiser(stored: Bundle, template: Path, licence: Path, regions: Sequence[Region]) -> Bundle:
    """The bundle with a localiser and the next minor version, written to its folder.

    Raises: UsageError if the licence cannot be read or the regions do not suit the bundle; BundleError if the
    template is none or the bundle's card or metadata cannot be read.
    """
    read_template(template)
    localiser = Localiser(template_digest(template), tuple(regions), _WORST_CORRELATION, _SCALE, _WORST_COVERAGE)
    major, minor, _ = _version(stored)
    bundle = replace(stored, version=f"{major}.{minor + 1}.0", localiser=localiser)
    try:
        terms = licence.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--licence {licence}: cannot be read ({error}); give the template's licence as text"
        ) from error
    card, metadata_json = stored.folder / "docs" / "README.md", stored.folder / "configs" / "metadata.json"
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{card}: the card cannot be read ({error}); copy the bundle again") from error
    metadata: dict[str, Any] = json.loads(metadata_json.read_text(encoding="utf-8"))
    names = " and ".join(region.name for region in regions)
    metadata["version"] = bundle.version
    metadata["changelog"] = {bundle.version: f"finds the regions {names} in larger images", **metadata["changelog"]}
    metadata["medseg"] = configs.own_metadata(bundle)
    if template.resolve() != (stored.folder / TEMPLATE).resolve():
        with whole_file(stored.folder / TEMPLATE) as temporary:
            shutil.copyfile(template, temporary)
    write_text(stored.folder / "docs" / "template_license.txt", terms)
    write_text(card, renew_view(text, bundle))
    write_json(metadata_json, metadata)
    return replace(bundle, folder=stored.folder)


def _version(stored: Bundle) -> tuple[int, int, int]:
    try:
        major, minor, patch = map(int, stored.version.split("."))
    except ValueError as error:
        raise BundleError(f"{stored.folder}: its version {stored.version!r} is not of the form 1.2.3") from error
    return major, minor, patch
