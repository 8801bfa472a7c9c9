"""What `medseg doctor` looks at; nothing here fails because something is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from medseg import __version__

_GIB = 2**30
_LITTLE_MEMORY, _LITTLE_DISK = 4 * _GIB, 1 * _GIB
_MODULES = {  # names to import that are not those to install
    "pillow": "PIL",
    "pylibjpeg-openjpeg": "openjpeg",
    "python-gdcm": "gdcm",
    "pytorch-ignite": "ignite",
    "scikit-image": "skimage",
    "simpleitk": "SimpleITK",
}
_BACKENDS = (("OpenVINO", "openvino", "openvino"), ("ONNX Runtime", "onnxruntime", "onnx"))  # name, module, extra


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    state: "ok"; "gap", which a cure would close; "none", which is absent and can be done without.
    cure:  what to do, mostly a command.
    """

    topic: str
    name: str
    state: Literal["ok", "gap", "none"]
    fact: str
    cure: str = ""


def all_findings() -> list[Finding]:
    """Of every topic, in the order in which they are told."""
    return [*_packages(), *_devices(), *_codecs(), *_backends(), *_bundles(), *_room()]


def _packages() -> Iterator[Finding]:
    topic = "packages"
    system = f"{platform.system()} {platform.machine()}"
    yield Finding(topic, "medseg", "ok", f"{__version__}, Python {platform.python_version()}, {system}")
    for name, wanted in _requirements():
        module = _MODULES.get(name.lower(), name.replace("-", "_"))
        version = _version(name)
        if version is None or not _is_there(module):
            yield Finding(topic, name, "gap", "not installed", f"pip install '{name}{wanted}'")
        elif not _is_within(version, wanted):
            yield Finding(topic, name, "gap", f"{version}, and {wanted} is needed", f"pip install -U '{name}{wanted}'")
        else:
            yield Finding(topic, name, "ok", version)


def _devices() -> Iterator[Finding]:
    topic = "devices"
    try:
        import torch

        from medseg.backends.precision import cpu_has_bf16
    except Exception as error:  # a broken installation raises anything
        yield Finding(topic, "torch", "gap", f"cannot be imported ({type(error).__name__})", "pip install torch")
        return
    bf16 = "computes in bf16" if cpu_has_bf16() else "no bf16, so networks run in fp32"
    yield Finding(topic, "CPU", "ok", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads, {bf16}")
    if torch.cuda.is_available():
        for n in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(n)
            yield Finding(topic, f"cuda:{n}", "ok", f"{properties.name}, {properties.total_memory / _GIB:.0f} GiB")
    elif shutil.which("nvidia-smi"):
        cure = "install the torch that pytorch.org shows under Start Locally for CUDA"
        yield Finding(topic, "CUDA", "gap", "an NVIDIA driver is there, but this torch does not use it", cure)
    else:
        yield Finding(topic, "CUDA", "none", "no NVIDIA GPU")
    there = torch.backends.mps.is_available()
    yield Finding(topic, "MPS", "ok" if there else "none", "Apple GPU" if there else "no Apple GPU")


def _codecs() -> Iterator[Finding]:
    topic = "DICOM codecs"
    try:
        from medseg.io.dicom_codecs import codecs
    except Exception as error:
        yield Finding(topic, "pydicom", "gap", f"cannot be imported ({type(error).__name__})", "pip install pydicom")
        return
    for codec in codecs():
        if codec.decoders:
            yield Finding(topic, codec.name, "ok", ", ".join(codec.decoders))
        else:
            yield Finding(topic, codec.name, "gap", f"no decoder ({codec.uid})", codec.cure)
    if _is_there("zlib"):
        yield Finding(topic, "DeflatedExplicitVRLittleEndian", "ok", "zlib")
    else:
        yield Finding(topic, "DeflatedExplicitVRLittleEndian", "gap", "no zlib", "install a Python with zlib")


def _backends() -> Iterator[Finding]:
    from medseg.backends.untold import keep_untold

    keep_untold()
    for name, module, extra in _BACKENDS:
        try:
            version = getattr(importlib.import_module(module), "__version__", "of unknown version")
            yield Finding("backends", name, "ok", str(version))
        except Exception as error:
            if isinstance(error, ModuleNotFoundError):
                yield Finding("backends", name, "none", "not installed", f"pip install 'medseg[{extra}]'")
            else:
                fact = f"cannot be imported ({type(error).__name__})"
                yield Finding("backends", name, "gap", fact, f"pip install --force-reinstall 'medseg[{extra}]'")
    if _is_there("onnxruntime"):
        lacking = [module for module in ("onnx", "onnxscript") if not _is_there(module)]
        if lacking:
            fact = f"{' and '.join(lacking)} not installed, so networks cannot be exported for ONNX Runtime"
            yield Finding("backends", "ONNX export", "gap", fact, "pip install 'medseg[onnx]'")
        else:
            yield Finding("backends", "ONNX export", "ok", f"onnx {_version('onnx')}")
    yield from _compiler()
    yield from _allocator()
    yield from _cache()


def _compiler() -> Iterator[Finding]:
    topic, name = "backends", "torch.compile"
    try:
        from medseg.backends.compiled import compiler_gap
    except Exception as error:  # a broken torch raises anything
        yield Finding(topic, name, "none", f"torch cannot be imported ({type(error).__name__})")
        return
    gap = compiler_gap()
    if gap is None:
        yield Finding(topic, name, "ok", "a C++ compiler and Python's headers are there")
    else:
        yield Finding(topic, name, "none", *gap)


def _allocator() -> Iterator[Finding]:
    from medseg.cli.memory import can_keep_freed_memory

    if can_keep_freed_memory():
        yield Finding("backends", "allocator", "ok", "glibc's, told to keep memory between the layers of a network")
    else:
        yield Finding("backends", "allocator", "none", "not glibc's; memory may go to and fro between layers")


def _cache() -> Iterator[Finding]:
    from medseg.backends.cache import cache_folder, cache_place

    if cache_folder() is not None:
        yield Finding("backends", "cache", "ok", f"compiled networks are kept in {cache_place()}")
    else:
        place = cache_place() or "a cache of a user without a home"
        fact = f"{place} cannot be made or is not yours alone, so compiled networks are not kept"
        yield Finding("backends", "cache", "gap", fact, "set MEDSEG_CACHE to a folder of your own")


def _bundles() -> Iterator[Finding]:
    from medseg.bundle.store import bundle_folders, list_bundles
    from medseg.domain.errors import MedsegError

    topic, found = "bundles", list_bundles()
    if not found:
        places = ", ".join(map(str, bundle_folders()))
        yield Finding(topic, "bundles", "gap", f"none in {places}", "set MEDSEG_HOME to the folder above `bundles`")
    for folder in found:
        try:
            from medseg.bundle.reader import read_bundle
            from medseg.bundle.weights import load_network

            stored = read_bundle(folder)
            load_network(stored)
            digest = stored.weights_sha256[:12]
            yield Finding(topic, folder.name, "ok", f"{stored.version}, weights match sha256 {digest}...")
        except MedsegError as error:
            yield Finding(topic, folder.name, "gap", " ".join(str(error).split()), "copy the bundle again")
        except ImportError as error:
            yield Finding(topic, folder.name, "gap", f"not looked at: {error}", "see the packages above")


def _room() -> Iterator[Finding]:
    from medseg.io.memory import available_bytes

    memory = available_bytes()
    if memory is None:
        yield Finding("memory and disk", "memory", "none", "this system does not say how much is free")
    else:
        yield _enough("memory", memory, _LITTLE_MEMORY, "close other programs; large scans need --roi")
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", Path(tempfile.gettempdir()))):
        with suppress(OSError):
            yield _enough(name, shutil.disk_usage(folder).free, _LITTLE_DISK, f"free some space in {folder}")


def _enough(name: str, free: int, little: int, cure: str) -> Finding:
    fact = f"{free / _GIB:.1f} GiB free"
    return Finding("memory and disk", name, "gap" if free < little else "ok", fact, cure if free < little else "")


def _requirements() -> Iterator[tuple[str, str]]:
    """What medseg needs, and the versions; nothing where it was not installed by pip."""
    with suppress(metadata.PackageNotFoundError, ImportError):
        from packaging.requirements import Requirement

        for text in metadata.requires("medseg") or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement.name, str(requirement.specifier)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_within(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
