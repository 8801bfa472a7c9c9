"""`medseg bundle` with all of its commands, which stand in several files."""

from __future__ import annotations

from medseg.cli import bundle_download, bundle_export, bundle_make
from medseg.cli.bundle import app

assert app is bundle_make.app is bundle_export.app is bundle_download.app

__all__ = ["app"]
