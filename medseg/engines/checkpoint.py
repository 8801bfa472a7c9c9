"""Training state on disk: written whole, checked by digest, the previous one kept."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import torch

from medseg.domain.errors import BundleError
from medseg.io.files import write_bytes, write_text

_NAME = re.compile(r"step-(\d{8})\.pt")
_KEPT = 2


def save_checkpoint(state: dict[str, Any], step: int, folder: Path) -> Path:
    """Write the state of a step, then drop all but the newest two.

    The digest is written first: a checkpoint without its digest beside it, or with another one, never counts.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:08d}.pt"
    write_text(_digest_file(path), hashlib.sha256(content).hexdigest() + "\n")
    write_bytes(path, content)
    for old in _checkpoints(folder)[:-_KEPT]:
        _digest_file(old).unlink(missing_ok=True)  # first: after a kill in between, the next save finds the other
        old.unlink()
    return path


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest state whose digest is right, or None where nothing was saved; only tensors and plain data are loaded.

    Raises: BundleError if there are checkpoints and all are damaged: starting over is the user's to say.
    """
    found = _checkpoints(folder)
    for path in reversed(found):
        content, digest = path.read_bytes(), _digest_file(path)
        if digest.exists() and digest.read_bytes().strip() == hashlib.sha256(content).hexdigest().encode():
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if found:
        raise BundleError(f"{folder}: all {len(found)} checkpoints are damaged; delete the folder to start over")
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")
