"""The self-test that a bundle carries: a small image, the answer of stock MONAI to it, and with what it was made."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from medseg.bundle.bundle import Bundle
from medseg.bundle.documents import read_document
from medseg.bundle.words import short
from medseg.domain.errors import BundleError, OutputError, UsageError
from medseg.domain.spec import from_plain, to_plain
from medseg.io.digest import file_digest
from medseg.io.files import require_writable, write_text

FOLDER, FACTS = "selftest", "selftest.json"
MOST_BYTES = 128 << 10  # deflate makes at most 1032 times as much of it
MOST_VOXELS = 1 << 21
_DIGEST, _VERSION = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9A-Za-z.+!_-]{1,40}")


@dataclass(frozen=True)
class SelfTest:
    """What selftest.json says. Names of files do not stand there: they follow from the bundle's kind of images.

    input_sha256, answer_sha256: of the two files beside it.
    weights_sha256:              of the weights that gave the answer.
    monai, torch:                the versions that gave it, in fp32 on a CPU.
    image:                       what the image is and who may use it, for readers.
    """

    input_sha256: str
    answer_sha256: str
    weights_sha256: str
    monai: str
    torch: str
    image: str

    def __post_init__(self) -> None:
        for digest in (self.input_sha256, self.answer_sha256, self.weights_sha256):
            if not _DIGEST.fullmatch(digest):
                raise UsageError(f"{short(digest)!r} is no sha256")
        for version in (self.monai, self.torch):
            if not _VERSION.fullmatch(version):
                raise UsageError(f"{short(version)!r} is no version")


def file_names(stored: Bundle) -> tuple[str, str]:
    """Of the image and of the answer."""
    ending = "nii.gz" if stored.network.spatial_dims == 3 else "png"
    return f"input.{ending}", f"answer.{ending}"


def read_self_test(stored: Bundle) -> SelfTest | None:
    """What a bundle says of its self-test, whose files have their digests and are small; None where it has none.

    Raises: BundleError for links, other files, sizes and digests, and for weights that did not give the answer.
    """
    folder = stored.folder / FOLDER
    if not folder.exists() and not folder.is_symlink():
        return None
    names = file_names(stored)
    for path in (folder, *(folder / name for name in (*names, FACTS))):
        if path.is_symlink() or not (path.is_dir() if path == folder else path.is_file()):
            raise BundleError(f"{path}: is missing or no plain file; make the self-test again: medseg bundle selftest")
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path}: {path.stat().st_size} bytes; a file of a self-test has at most {MOST_BYTES}")
    try:
        told = from_plain(SelfTest, read_document(folder / FACTS).data, FACTS)
    except UsageError as error:
        raise BundleError(
            f"{folder / FACTS}: {short(str(error), 200)}; make it again: medseg bundle selftest"
        ) from error
    if told.weights_sha256 != stored.weights_sha256:
        raise BundleError(
            f"{folder / FACTS}: made with weights {told.weights_sha256[:12]}..., the bundle's are "
            f"{stored.weights_sha256[:12]}...; make it again: medseg bundle selftest"
        )
    for name, wanted in zip(names, (told.input_sha256, told.answer_sha256), strict=True):
        if (digest := file_digest(folder / name)) != wanted:
            raise BundleError(
                f"{folder / name}: sha256 is {digest[:12]}..., {FACTS} says {wanted[:12]}...; the file was changed or "
                "damaged; copy the bundle again"
            )
    return told


def store_self_test(stored: Bundle, made: Path, facts: SelfTest) -> None:
    """Put the two files of the folder `made` and what is said of them into the bundle, in place of what was there.

    Raises: UsageError for files that are too large; OutputError if the bundle's folder cannot be written.
    """
    for name in file_names(stored):
        if (size := (made / name).stat().st_size) > MOST_BYTES:
            raise UsageError(f"{name} would take {size} bytes of the bundle, of at most {MOST_BYTES}; cut out a part")
    target = stored.folder / FOLDER
    require_writable(stored.folder)
    temporary = Path(mkdtemp(prefix=f".{FOLDER}.", suffix=".part", dir=stored.folder))
    try:
        temporary.chmod(0o755)
        for name in file_names(stored):
            shutil.copyfile(made / name, temporary / name)
        write_text(temporary / FACTS, json.dumps(to_plain(facts), indent=4) + "\n")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        temporary.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror}); look at what is there") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary)
