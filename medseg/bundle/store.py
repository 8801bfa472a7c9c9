"""Where bundles lie: a path, MEDSEG_HOME, or those that came with the program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.domain.errors import UsageError

if TYPE_CHECKING:
    from medseg.bundle.bundle import Bundle
    from medseg.bundle.foreign import MonaiBundle


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


def find_bundle(name: str) -> Bundle:
    """Our bundle of that name, or in that folder.

    Raises: UsageError for an unknown one, naming those there are; BundleError if it is damaged or somebody else's.
    """
    from medseg.bundle.reader import read_bundle  # here, so that a list of bundles needs no torch

    return read_bundle(find_folder(name))


def find_any(name: str, overrides: Mapping[str, Any] | None = None, trusted: bool = False) -> Bundle | MonaiBundle:
    """As `find_bundle`, also for bundles in MONAI's format that somebody else wrote, and for zips of them.

    overrides: values by id that the user sets, such as {"inferer#overlap": 0.6}.
    trusted:   code of the bundle may run, where it needs it; or the user trusted this content before.
    """
    from medseg.bundle.config import NotRunError
    from medseg.bundle.reader import read_any
    from medseg.bundle.trust import is_trusted

    folder = find_folder(name)
    try:
        return read_any(folder, overrides)
    except NotRunError:
        if not (trusted or is_trusted(folder)):
            raise
    from medseg.bundle.trusted import read_trusted

    return read_trusted(folder, overrides)


def find_folder(name: str) -> Path:
    """Where the bundle of that name lies, or the folder itself, or what a zip holds, unpacked in MEDSEG_HOME.

    The path is absolute: configs join `bundle_root` with other paths, which are then looked up inside the folder.
    Raises: UsageError for an unknown one, naming those there are; BundleError for a zip that holds no bundle.
    """
    known = {folder.name: folder for folder in list_bundles()}
    if name in known:
        return known[name].absolute()
    folder = Path(name)
    if folder.is_dir():
        return folder.absolute()
    if folder.is_file():
        from medseg.bundle.archive import unpack

        return unpack(folder).absolute()
    raise UsageError(
        f"{name}: no bundle of this name, and no such file or folder; there are {', '.join(sorted(known)) or 'none'}"
    )
