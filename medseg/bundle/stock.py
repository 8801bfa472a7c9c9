"""Stock MONAI runs one of our bundles on one image, as `python -m monai.bundle run` in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import medseg
from medseg.bundle import configs
from medseg.bundle.bundle import Bundle
from medseg.bundle.pack import write_json
from medseg.bundle.weights import load_network
from medseg.bundle.words import short
from medseg.domain.errors import BundleError

_COMMAND = ("-m", "monai.bundle", "run", "run", "--config_file", "configs/inference.json")
_CPU = ("--device", "$torch.device('cpu')")


def stock_answer(stored: Bundle, image: Path, work: Path) -> Path:
    """The mask that stock MONAI writes of the image, in fp32 on the CPU.

    The config that it evaluates is the one this program writes of the bundle, never the bundle's file.
    work: an empty folder, which stock MONAI runs in.
    Raises: BundleError as `load_network`, or if stock MONAI fails.
    """
    load_network(stored)  # tensors only, the right digest: for the other reader too
    (work / "models").mkdir(parents=True)
    (work / "images").mkdir()
    shutil.copyfile(stored.folder / "models" / "model.pt", work / "models" / "model.pt")
    shutil.copyfile(image, work / "images" / image.name)
    write_json(work / "configs" / "inference.json", configs.inference_config(stored))
    path = os.pathsep.join(filter(None, (str(Path(medseg.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *_COMMAND, *_CPU], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    written = list((work / "eval").glob("*_seg.*"))
    if done.returncode or len(written) != 1:
        said = next(iter(reversed(done.stderr.split("\n\n")[-1].strip().splitlines())), "")
        raise BundleError(
            f"{stored.folder}: stock MONAI ends with {done.returncode} on {image.name}: {short(said, 300)}"
        )
    return written[0]
