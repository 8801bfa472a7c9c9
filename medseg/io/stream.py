"""Voxels out of a stream, plain or gzip: whole, checked to the end, and no more memory than was asked for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import InputError, MedsegError, ResourceError
from medseg.io.gunzip import GZIP_ERRORS, in_words

MOST_BYTES = 64 << 30  # a header may claim anything; no image this program can hold is larger
_MOST_FOLD = 1100  # gzip shrinks at most about 1030-fold
_MOST_BEHIND = 16 << 20  # bytes behind the voxels, of which nothing is wanted
_CHUNK = 1 << 20

Stream = gzip.GzipFile | BufferedReader


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """What goes wrong with a file becomes InputError, and what with memory ResourceError."""
    try:
        yield
    except MedsegError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except GZIP_ERRORS as error:
        raise InputError(f"{path}: the gzip stream is damaged ({in_words(error)}); copy the file again") from error
    except EOFError as error:
        raise InputError(f"{path}: the file is cut off; copy it again") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: not enough memory to hold the image; use a larger machine") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def require_possible(path: Path, need_bytes: int, file_bytes: int) -> None:
    """Raises: InputError where the header claims more than the file can hold, compressed or not."""
    if need_bytes > MOST_BYTES or need_bytes > max(file_bytes, 1) * _MOST_FOLD:
        raise InputError(
            f"{path}: the header claims {need_bytes} bytes, the file has {file_bytes}; the header is damaged"
        )


def skip(path: Path, file: Stream, count: int) -> None:
    """Read so many bytes and forget them; raises InputError if there are fewer."""
    while count > 0:
        read = len(file.read(min(count, _CHUNK)))
        if not read:
            raise InputError(f"{path}: the file is cut off: {count} bytes are missing; copy it again")
        count -= read


def fill(path: Path, file: Stream, values: NDArray[Any]) -> None:
    """The flat array from the stream; raises InputError if that ends before.

    A chunk at a time, so that memory which a lying header claims is never touched.
    """
    buffer = values.view(np.uint8).data
    done = 0
    while done < len(buffer):
        read = file.readinto(buffer[done : done + _CHUNK])
        if not read:
            raise InputError(f"{path}: the file is cut off: {done} of {len(buffer)} bytes of voxels; copy it again")
        done += read


def read_to_the_end(path: Path, file: Stream) -> None:
    """Gzip checks its sum there; raises InputError where it does not come."""
    behind = 0
    while chunk := file.read(_CHUNK):
        behind += len(chunk)
        if behind > _MOST_BEHIND:
            raise InputError(
                f"{path}: goes on for more than {_MOST_BEHIND >> 20} MiB behind the voxels that its header gives; the "
                "header is damaged"
            )
