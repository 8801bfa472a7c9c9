"""Everything that medseg refuses, as types; each carries the exit code of the command line."""

from __future__ import annotations

from collections.abc import Sequence


class MedsegError(Exception):
    """A refusal: one message that names the file, the reason with numbers, and what to do."""

    exit_code = 70


class UsageError(MedsegError):
    """The command was called in a way that cannot be carried out (an unknown bundle, two outputs with one name)."""

    exit_code = 2


class InputError(MedsegError):
    """An input would lead to a wrong answer, so there is none."""

    exit_code = 3


class GridError(InputError):
    """Two things that must lie on one grid do not, or an affine is no grid at all."""


class ValueRangeError(InputError):
    """Voxel values are not what they must be (NaN, constant, outside the label table)."""


class FieldOfViewError(InputError):
    """The image shows another part of the body, or more of it, than the bundle was trained on."""


class SpacingError(InputError):
    """The slices of a series are not evenly spaced."""

    def __init__(self, message: str, *, gaps_mm: Sequence[float] = ()):
        super().__init__(message)  # one message first: worker processes rebuild the error from it
        self.gaps_mm = tuple(gaps_mm)


class SeriesError(InputError):
    """A DICOM folder does not hold exactly one regular series."""


class PartialBatchError(MedsegError):
    """Some cases of a batch are done and some were refused."""

    exit_code = 4


class BundleError(MedsegError):
    """A bundle is damaged, incomplete or asks for something that is not run."""

    exit_code = 5


class ResourceError(MedsegError):
    """Memory, disk or the asked-for device is not there."""

    exit_code = 6


class OutputError(MedsegError):
    """An output exists, is in use or cannot be written."""

    exit_code = 7
