"""Bundles from the places where MONAI's model zoo lies, as zips that are looked at before they are unpacked.

What `monai.bundle.download` would unpack as it comes and then read goes through `archive.unpack` here. Nothing of it is
imported or run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

from packaging.version import InvalidVersion, Version

from medseg.bundle.archive import MOST_BYTES, MOST_MEMBERS, unpack
from medseg.bundle.https import Https
from medseg.domain.errors import BundleError, OutputError, UsageError
from medseg.io.files import require_writable

PLACES: Mapping[str, str] = {
    "list": "https://raw.githubusercontent.com/Project-MONAI/model-zoo/dev/models/model_info.json",
    "monaihosting": "https://api.ngc.nvidia.com/v2/models/nvidia/monaihosting",
    "github": "https://github.com/Project-MONAI/model-zoo/releases/download/hosting_storage_v1",
    "huggingface": "https://huggingface.co",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_OWNED = re.compile(rf"{_NAME.pattern}/[A-Za-z0-9][A-Za-z0-9_.-]{{0,99}}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")


@dataclass(frozen=True)
class Downloaded:
    """A bundle's folder, where it came from, and the digest of the zip that it was in.

    made_here: the place has no zip but single files; the zip, and so its digest, was made of them here.
    """

    folder: Path
    url: str
    sha256: str
    made_here: bool


@dataclass(frozen=True)
class Web:
    """How places are reached; tests put others in their stead."""

    https: Https = field(default_factory=Https)
    places: Mapping[str, str] = field(default_factory=lambda: PLACES)


def download(name: str, folder: Path, source: str, version: str | None = None, web: Web | None = None) -> Downloaded:
    """The bundle as `folder/name`, whole or not at all.

    source:  "monaihosting", "github" or "huggingface"; there a name may be OWNER/NAME, else it is MONAI's.
    version: None: the latest, by the zoo's list; at Hugging Face the main branch.
    Raises: UsageError for an unknown name, version or source; OutputError if the folder exists or cannot be written;
    ResourceError without a network; BundleError for an archive that is not taken.
    """
    web = web or Web()
    if source not in _SOURCES:
        raise UsageError(f"--from {source}: not one of {', '.join(_SOURCES)}")
    if not (_NAME.fullmatch(name) or (source == "huggingface" and _OWNED.fullmatch(name))):
        raise UsageError(f"{name}: no name of a bundle; names have letters, digits, - and _")
    if version is not None and not _VERSION.fullmatch(version):
        raise UsageError(f"--version {version}: no version, such as 0.5.3")
    target = folder / name.rpartition("/")[2]
    if target.exists():
        raise OutputError(f"{target}: exists already; choose another folder or delete it")
    require_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=folder))
    try:
        archive = temporary / f"{target.name}.zip"
        url, checksum = _SOURCES[source](name, version, archive, web)
        digest = _digest(archive, "sha256")
        if checksum is not None and _digest(archive, "sha1") != checksum:
            raise BundleError(f"{url}: its sha1 is not the {checksum[:12]}... of the zoo's list; nothing was unpacked")
        try:
            unpacked = unpack(archive, temporary / "unpacked")
            unpacked.chmod(0o755)
            unpacked.rename(target)
        except OSError as error:  # made by somebody else in the meantime
            raise OutputError(f"{target}: cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Downloaded(target, url, digest, made_here=source == "huggingface")


def _from_monaihosting(name: str, version: str | None, archive: Path, web: Web) -> tuple[str, str | None]:
    version, checksum = _listed(name, version, web)
    url = f"{web.places['monaihosting']}/{name.lower()}/versions/{version}/files/{name}_v{version}.zip"
    web.https.save(url, archive, MOST_BYTES)
    return url, checksum


def _from_github(name: str, version: str | None, archive: Path, web: Web) -> tuple[str, str | None]:
    version, checksum = _listed(name, version, web)
    url = f"{web.places['github']}/{name}_v{version}.zip"
    web.https.save(url, archive, MOST_BYTES)
    return url, checksum


def _listed(name: str, version: str | None, web: Web) -> tuple[str, str | None]:
    """The version, the latest where none is wanted, and the sha1 of its zip as the zoo's list has it."""
    if version is not None:
        return version, None
    listed = _json(web.places["list"], web, dict)
    versions: dict[str, Any] = {}
    for key, entry in listed.items():
        head, _, tail = str(key).rpartition("_v")
        if head == name and _VERSION.fullmatch(tail):
            versions[tail] = entry
    if not versions:
        raise UsageError(f"{name}: not in {web.places['list']}; check the name, or give --version")
    latest = max(versions, key=_order)
    checksum = versions[latest].get("checksum") if isinstance(versions[latest], dict) else None
    known = isinstance(checksum, str) and re.fullmatch("[0-9a-f]{40}", checksum)
    return latest, checksum if known else None


def _order(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")


def _from_huggingface(name: str, version: str | None, archive: Path, web: Web) -> tuple[str, str | None]:
    """A repository's files, one by one, stored in a zip, so that they pass the same gate as any zip."""
    repository, revision = name if "/" in name else f"MONAI/{name}", version or "main"
    base = web.places["huggingface"]
    listing = f"{base}/api/models/{repository}/tree/{revision}?recursive=true"
    entries = [entry for entry in _json(listing, web, list) if isinstance(entry, dict) and entry.get("type") == "file"]
    sizes = [size for entry in entries if type(size := entry.get("size")) is int and size >= 0]
    if len(entries) > MOST_MEMBERS or len(sizes) < len(entries):
        raise BundleError(f"{listing}: {len(entries)} files, or sizes that are none; nothing was taken")
    if sum(sizes) > MOST_BYTES:
        raise BundleError(f"{listing}: {sum(sizes)} bytes are more than a bundle has")
    part = archive.with_name("file.part")
    with zipfile.ZipFile(archive, "x", zipfile.ZIP_STORED) as made:
        for entry in entries:
            path, large = entry.get("path"), entry.get("lfs")
            if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise BundleError(f"{listing}: a file is called {path!r:.80}; nothing was taken")
            url = f"{base}/{repository}/resolve/{revision}/{quote(path)}"
            size = web.https.save(url, part, entry["size"])
            wanted = large.get("oid") if isinstance(large, dict) else None
            if size != entry["size"] or (wanted is not None and _digest(part, "sha256") != wanted):
                raise BundleError(f"{url}: is not what the repository's listing says it is; try again")
            made.write(part, zipfile.ZipInfo(path).filename)
            part.unlink()
    return f"{base}/{repository}", None


_SOURCES: dict[str, Callable[[str, str | None, Path, Web], tuple[str, str | None]]] = {
    "monaihosting": _from_monaihosting,
    "github": _from_github,
    "huggingface": _from_huggingface,
}
SOURCES = tuple(_SOURCES)


def _json(url: str, web: Web, kind: type) -> Any:
    try:
        found = json.loads(web.https.read(url))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{url}: no JSON; the place has changed, download the zip by hand") from error
    if not isinstance(found, kind):
        raise BundleError(f"{url}: another JSON than expected; the place has changed, download the zip by hand")
    return found


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
