"""CT whose values are no Hounsfield units although it looks like any other: maps of materials and of blood flow."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words in ImageType from its third value on: PS3.3 C.8.15.3.1.4 (multi-energy CT), what makers wrote before, and maps
# of blood flow and of other quantities. Virtual monoenergetic images, and those with a material removed or modified,
# stay in HU, and so do images that calcium is scored in.
_OTHER_QUANTITY = re.compile(
    r"(?:^|[^A-Z0-9])(MAT[ _](?:SPECIFIC|FRACTIONAL|VALUE[ _]BASED)|MATERIAL|EFF(?:ECTIVE)?[ _]ATOMIC|ATOMIC|"
    r"Z[ _]?EFF(?:ECTIVE)?|ELECTRON|RHO(?:[ _]?Z)?|IODINE|CALCIUM(?![ _]SCOR)|URIC|HAP|FAT[ _]FRACTION|"
    r"BLOOD[ _](?:VOLUME|FLOW)|CBF|CBV|MTT|TTP|TMAX|[A-Z]*PBV|PMB|PERM(?:EABILITY)?|STOPPING|SPR|VENT(?:ILATION)?)"
    r"(?:$|[^A-Z0-9])"
)
_HOUNSFIELD = re.compile(r"(?:^|[^A-Z0-9])(VMI|MONO|VNC|MAT[ _](?:REMOVED|MODIFIED))(?:$|[^A-Z0-9])")


def material_map(image_type: Sequence[str]) -> str:
    """The value of ImageType that names another quantity than attenuation; empty where none does.

    >>> material_map(("DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM")), material_map(("ORIGINAL", "PRIMARY", "AXIAL"))
    ('EFF_ATOMIC_NUM', '')
    """
    words = image_type[2:]
    if any(_HOUNSFIELD.search(word) for word in words):
        return ""
    return next((word for word in words if _OTHER_QUANTITY.search(word) and re.fullmatch("[A-Z0-9_ ]+", word)), "")
