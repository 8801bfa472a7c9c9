"""pydicom without its words; without importing it, too, for what reads other files runs in this as well."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKERS = ("pydicom", "highdicom")


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """No warnings and no log lines of pydicom and highdicom: they quote values, and a value may be a name.

    We check ourselves.
    """
    loggers = [logging.getLogger(name) for name in _TALKERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
