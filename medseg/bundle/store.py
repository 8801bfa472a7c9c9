"""Where bundles lie: a path, MEDSEG_HOME, or those that came with the program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.domain.errors import UsageError

if TYPE_CHECKING:
    from medseg.bundle.bundle import StoredBundle


def bundle_folders() -> list[Path]:
    """The folders that are searched by name, first come first."""
    package = Path(__file__).parent.parent
    folders = [package / "_bundles", package.parent / "bundles"]
    home = os.environ.get("MEDSEG_HOME")
    return [Path(home) / "bundles", *folders] if home else folders


def list_bundles() -> list[Path]:
    """The folders of all bundles found by name, without looking inside; the first of a name counts."""
    found: dict[str, Path] = {}
    for folder in bundle_folders():
        for metadata in sorted(folder.glob("*/configs/metadata.json")):
            bundle = metadata.parent.parent
            if not bundle.name.startswith("."):  # what a killed `pack` left behind
                found.setdefault(bundle.name, bundle)
    return list(found.values())


def find_bundle(name: str) -> StoredBundle:
    """The bundle of that name, or in that folder.

    Raises: UsageError for an unknown one, naming those there are; BundleError if it is there but damaged.
    """
    from medseg.bundle.reader import read_bundle  # here, so that a list of bundles needs no torch

    known = {folder.name: folder for folder in list_bundles()}
    if name in known:
        return read_bundle(known[name])
    folder = Path(name)
    if folder.is_dir():
        return read_bundle(folder)
    raise UsageError(
        f"-b {name}: no bundle of this name; there are {', '.join(sorted(known)) or 'none'}, or give a folder"
    )
