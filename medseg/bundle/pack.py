"""A trained network becomes a bundle folder, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from torch import Tensor

from medseg.bundle import configs
from medseg.bundle.bundle import Bundle
from medseg.bundle.train_config import train_config
from medseg.bundle.weights import weights_bytes
from medseg.domain.errors import OutputError, UsageError
from medseg.io.files import require_writable, write_bytes, write_text

_LICENCE = "Code and weights: Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0\n"


def pack(bundle: Bundle, weights: dict[str, Tensor], folder: Path, card: str) -> Bundle:
    """Write the bundle's folder and return the bundle with its digest and folder.

    card: docs/README.md; `medseg evaluate --card` fills its scores.
    Raises: OutputError if the folder exists or cannot be written; UsageError if the bundle has a localiser.
    """
    if bundle.localiser is not None:
        raise UsageError(f"bundle {bundle.name}: pack it without a localiser, then add one: medseg bundle localise")
    if folder.exists():
        raise OutputError(f"{folder}: exists already; choose another folder or delete it")
    require_writable(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    content = weights_bytes(weights)
    bundle = replace(bundle, weights_sha256=hashlib.sha256(content).hexdigest(), folder=folder)
    temporary = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        write_bytes(temporary / "models" / "model.pt", content)
        write_json(temporary / "configs" / "inference.json", configs.inference_config(bundle))
        write_json(temporary / "configs" / "train.json", train_config(bundle))
        write_json(
            temporary / "configs" / "metadata.json",
            configs.metadata(bundle, scores={}, changes={bundle.version: "first trained version"}),
        )
        write_text(temporary / "docs" / "README.md", card)
        write_text(temporary / "docs" / "data_license.txt", f"{bundle.data_source}\n{bundle.data_licence}\n")
        write_text(temporary / "LICENSE", _LICENCE)
        try:
            temporary.rename(folder)
        except OSError as error:  # made by somebody else in the meantime
            raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return bundle


def write_json(path: Path, data: object) -> None:
    """Indented JSON with a newline at its end."""
    write_text(path, json.dumps(data, indent=4) + "\n")
