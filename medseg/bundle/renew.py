"""A bundle's folder is told what was measured of it since."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from medseg.bundle import configs
from medseg.bundle.bundle import Bundle
from medseg.bundle.pack import write_json


def renew(stored: Bundle, **values: Any) -> Bundle:
    """The bundle with other values of what stands under "medseg" in metadata.json, written there.

    Raises: UsageError for values that do not suit the bundle; OutputError as `write_text`.
    """
    bundle = replace(stored, **values)
    path = stored.folder / "configs" / "metadata.json"
    metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    metadata["medseg"] = configs.own_metadata(bundle)
    write_json(path, metadata)
    return replace(bundle, folder=stored.folder)
