"""OpenJPEG asked directly for one grey image and for every warning: the usual wrappers throw the warnings away."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.domain.errors import MedsegError

_J2K = 0  # a bare codestream, as DICOM has it
_PARAMETERS = 16384  # bytes; the struct has a good 8192
_END = ctypes.c_size_t(-1).value

_Message = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
_Read = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_Skip = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
_Seek = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_void_p)


class OpenJpegError(MedsegError):
    """A stream that OpenJPEG does not decode, with its reason."""


class _Component(ctypes.Structure):
    _fields_ = (
        *[(name, ctypes.c_uint32) for name in ("dx", "dy", "w", "h", "x0", "y0", "prec", "bpp", "sgnd", "res", "fac")],
        ("data", ctypes.POINTER(ctypes.c_int32)),
        ("alpha", ctypes.c_uint16),
    )


class _Image(ctypes.Structure):
    _fields_ = (
        *[(name, ctypes.c_uint32) for name in ("x0", "y0", "x1", "y1", "numcomps")],
        ("color_space", ctypes.c_int),
        ("comps", ctypes.POINTER(_Component)),
    )


@dataclass(frozen=True, eq=False)
class Decoded:
    """The image, (rows, columns), as OpenJPEG's 32-bit integers, and its warnings."""

    pixels: NDArray[np.int32]
    warnings: tuple[str, ...]


@cache
def functions() -> ctypes.CDLL | None:
    """OpenJPEG as pylibjpeg-openjpeg brings it; None where it hides the functions, as Windows' linker does."""
    try:
        spec = find_spec("_openjpeg")
        if spec is None or spec.origin is None:
            return None
        found = ctypes.CDLL(spec.origin)
        found.opj_create_decompress.restype = ctypes.c_void_p
        found.opj_stream_create.restype = ctypes.c_void_p
        found.opj_stream_create.argtypes = (ctypes.c_size_t, ctypes.c_int)
        found.opj_stream_set_user_data_length.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
        for name in ("opj_set_warning_handler", "opj_set_error_handler"):
            getattr(found, name).argtypes = (ctypes.c_void_p, _Message, ctypes.c_void_p)
        for name, kind in (("read", _Read), ("skip", _Skip), ("seek", _Seek)):
            getattr(found, f"opj_stream_set_{name}_function").argtypes = (ctypes.c_void_p, kind)
        found.opj_setup_decoder.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        found.opj_read_header.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.POINTER(_Image)))
        found.opj_decode.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_Image))
        found.opj_end_decompress.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        found.opj_image_destroy.argtypes = (ctypes.POINTER(_Image),)
        for name in ("opj_destroy_codec", "opj_stream_destroy"):
            getattr(found, name).argtypes = (ctypes.c_void_p,)
        found.opj_set_default_decoder_parameters.argtypes = (ctypes.c_void_p,)
    except (OSError, AttributeError):
        return None
    return found


def decode(stream: bytes, shape: tuple[int, int]) -> Decoded:
    """Decode a JPEG 2000 codestream of one component without subsampling.

    Args:
        stream: SOC to EOC, no JP2 boxes.
        shape: (rows, columns) that it must have; nothing larger is decoded.

    Raises:
        OpenJpegError: If it fails, or has another shape or more components.
    """
    opj = functions()
    assert opj is not None
    messages: list[str] = []
    errors: list[str] = []
    place = 0

    def read(buffer: int, count: int, _: Any) -> int:
        nonlocal place
        part = stream[place : place + count]
        if not part:
            return _END
        ctypes.memmove(buffer, part, len(part))
        place += len(part)
        return len(part)

    def skip(count: int, _: Any) -> int:
        nonlocal place
        place = min(max(place + count, 0), len(stream))
        return count

    def seek(to: int, _: Any) -> int:
        nonlocal place
        place = min(max(to, 0), len(stream))
        return 1

    calls = (_Read(read), _Skip(skip), _Seek(seek))  # kept alive to the end
    warn = _Message(lambda message, _: messages.append(message.decode("ascii", "replace").strip()))
    fail = _Message(lambda message, _: errors.append(message.decode("ascii", "replace").strip()))
    codec, source, image = opj.opj_create_decompress(_J2K), opj.opj_stream_create(1 << 20, 1), ctypes.POINTER(_Image)()
    try:
        for name, call in zip(("read", "skip", "seek"), calls, strict=True):
            getattr(opj, f"opj_stream_set_{name}_function")(source, call)
        opj.opj_stream_set_user_data_length(source, len(stream))
        opj.opj_set_warning_handler(codec, warn, None)
        opj.opj_set_error_handler(codec, fail, None)
        parameters = ctypes.create_string_buffer(_PARAMETERS)
        opj.opj_set_default_decoder_parameters(parameters)
        whole = opj.opj_setup_decoder(codec, parameters) and opj.opj_read_header(source, codec, ctypes.byref(image))
        if not whole:
            raise OpenJpegError(errors[0] if errors else "its header cannot be read")
        grid = image.contents
        if grid.numcomps != 1 or (grid.y1 - grid.y0, grid.x1 - grid.x0) != shape:
            raise OpenJpegError(f"holds {grid.numcomps} x {grid.x1 - grid.x0} x {grid.y1 - grid.y0} pixels")
        if not (opj.opj_decode(codec, source, image) and opj.opj_end_decompress(codec, source)) or errors:
            raise OpenJpegError(errors[0] if errors else "its body cannot be decoded")
        only = grid.comps[0]
        if (only.h, only.w) != shape or not only.data:
            raise OpenJpegError(f"decodes to {only.w} x {only.h} pixels")
        return Decoded(np.ctypeslib.as_array(only.data, shape).copy(), tuple(messages))
    finally:
        opj.opj_image_destroy(image)
        opj.opj_stream_destroy(source)
        opj.opj_destroy_codec(codec)
