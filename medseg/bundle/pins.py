"""The versions that a bundle was made with: compared, never installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from packaging.version import InvalidVersion, Version


def behind(pins: Mapping[str, str]) -> list[str]:
    """The packages that are here in an older version than a bundle names, or that are not here at all.

    >>> behind({"numpy": "1.0", "no-such-package": "1.0"})
    ['no-such-package 1.0 (not here)']
    """
    found = []
    for name, pin in pins.items():
        try:
            wanted = Version(pin)
        except InvalidVersion:
            found.append(f"{name} {pin!r:.40} (no version)")
            continue
        try:
            here = Version(version(name))
        except (PackageNotFoundError, InvalidVersion, ValueError):
            found.append(f"{name} {pin} (not here)")
            continue
        if here < wanted:
            found.append(f"{name} {pin} (here {here})")
    return found
