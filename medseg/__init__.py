"""Segment medical images: train, pack, run and evaluate segmentation models on NIfTI, DICOM and pictures.

>>> import medseg
>>> "segment" in dir(medseg)
True
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "domain.box": ("Box",),
    "domain.errors": ("BundleError", "InputError", "MedsegError", "OutputError", "ResourceError", "UsageError"),
    "domain.geometry": ("Geometry",),
    "domain.labels": ("Label", "LabelMap", "LabelTable"),
    "domain.manifest": ("Case", "Manifest"),
    "domain.report": ("Report",),
    "domain.volume": ("Volume",),
    "io.images": ("read_image",),
    "io.manifest": ("read_manifest",),
    "io.nifti": ("write_nifti",),
    "io.picture": ("write_picture_mask",),
    "networks.build": ("NetworkSpec", "build_network"),
    "windows": ("WindowSpec", "stream", "stream_many"),
    "data.fingerprint": ("Fingerprint", "fingerprint"),
    "engines.defaults": ("suggest",),
    "engines.plan": ("TrainSpec",),
    "bundle.store": ("find_bundle",),
    "inference.model": ("load_model",),
    "inference.segment": ("segment",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: `import medseg` itself costs nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'medseg' has no attribute {name!r}")
    return getattr(import_module(f"medseg.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
