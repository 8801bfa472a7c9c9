"""Identifiers of DICOM objects that follow from what the objects are made of."""

from __future__ import annotations

import uuid


def derived_uid(seed: str, name: str) -> str:
    """PS3.5 B.2: a UUID under 2.25; version 5, so the same seed and name give the same one."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{seed}/{name}').int}"
