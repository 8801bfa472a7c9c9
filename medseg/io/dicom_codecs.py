"""Which compressed DICOM pixels this installation can decode."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.pixels import get_decoder
from pydicom.uid import UID

# Transfer syntaxes, and what to install for each.
_CURES = {
    "1.2.840.10008.1.2.5": "pip install numpy",  # run-length encoding: pydicom's own
    "1.2.840.10008.1.2.4.50": "pip install pillow",
    "1.2.840.10008.1.2.4.51": "pip install python-gdcm",
    "1.2.840.10008.1.2.4.57": "pip install python-gdcm",
    "1.2.840.10008.1.2.4.70": "pip install python-gdcm",
    "1.2.840.10008.1.2.4.80": "pip install pyjpegls",
    "1.2.840.10008.1.2.4.81": "pip install pyjpegls",
    "1.2.840.10008.1.2.4.90": "pip install pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pip install pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pip install pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pip install pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pip install pylibjpeg pylibjpeg-openjpeg",
}


@dataclass(frozen=True)
class Codec:
    """One transfer syntax.

    name:     DICOM's keyword.
    decoders: the libraries that decode it here; empty where none does.
    cure:     the command that would bring one.
    """

    uid: str
    name: str
    decoders: tuple[str, ...]
    cure: str


def cure(uid: str) -> str | None:
    """The command that brings a decoder of this transfer syntax; None where none is known."""
    return _CURES.get(uid)


def codecs() -> list[Codec]:
    """All compressed transfer syntaxes that medseg decodes where the library is there."""
    return [
        Codec(uid, UID(uid).keyword, tuple(get_decoder(UID(uid)).available_plugins), cure)
        for uid, cure in _CURES.items()
    ]
