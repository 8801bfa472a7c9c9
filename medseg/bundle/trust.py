"""What a stranger's bundle would run if it were trusted, and which bundles the user trusts, by content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.bundle.documents import read_document
from medseg.bundle.targets import find_target
from medseg.domain.errors import BundleError, UsageError
from medseg.io.files import write_text


def content_digest(folder: Path) -> str:
    """The sha256 of all files' names and contents; another byte anywhere gives another digest.

    Raises: BundleError for a link or anything that is no file or folder: what it points to could change.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{path}: is a link; a bundle that is trusted holds files only")
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def home_folder() -> Path:
    """Where this program keeps things of the user's: MEDSEG_HOME, or .medseg of the user's home folder.

    Raises: UsageError for a user without a home folder, as in containers that run with a number nobody knows.
    """
    home = os.environ.get("MEDSEG_HOME")
    if home:
        return Path(home)
    try:
        return Path.home() / ".medseg"
    except RuntimeError as error:
        raise UsageError("this user has no home folder; set MEDSEG_HOME to a folder for medseg's own files") from error


def trusted_file() -> Path:
    """Where digests of trusted bundles stand."""
    return home_folder() / "trusted.json"


def is_trusted(folder: Path) -> bool:
    """Whether the user trusted exactly this content; a user without a home folder has trusted nothing."""
    try:
        return content_digest(folder) in _trusted()
    except UsageError:
        return False


def trust(folder: Path) -> str:
    """Remember this content as trusted; returns its digest."""
    digest = content_digest(folder)
    write_text(trusted_file(), json.dumps({**_trusted(), digest: folder.resolve().name}, indent=1) + "\n")
    return digest


def _trusted() -> dict[str, Any]:
    path = trusted_file()
    return read_document(path).data if path.exists() else {}


def what_would_run(folder: Path, config: Path) -> list[str]:
    """Lines for the user: the code files, and the expressions and classes of the config that this program does not
    know, each with its place.
    """
    lines = [f"{path}: Python code" for path in sorted(folder.rglob("*.py"))]
    document = read_document(config)
    for text in _texts(document.data):
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        more = f" ... ({len(shown)} characters)" if len(shown) > 200 else ""
        lines.append(f"{document.place(text)}: {shown[:200]}{more}")
    return lines


def _texts(value: Any) -> Iterator[str]:
    """Expressions, macros and unknown targets, once each."""
    seen: set[str] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            target = item.get("_target_")
            if isinstance(target, str) and find_target(target) is None and target not in seen:
                seen.add(target)
                yield target
            pending += reversed(item.values())
        elif isinstance(item, list):
            pending += reversed(item)
        elif isinstance(item, str) and item[:1] in ("$", "%") and item not in seen:
            seen.add(item)
            yield item
