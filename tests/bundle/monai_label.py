"""MONAI Label's own inference class on bundles: `monai_label.py JOBS RESULTS`, in a process of its own.

JOBS is a JSON list of {"bundle": folder, "image": path, "mask": .npy to write}; RESULTS becomes the list of what each
failed with, empty where it did not. MONAI Label is imported as it is. Of its dependencies those may be absent that are
not used on the way from an image to its mask: an empty module takes their place.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import logging
import sys
import traceback
import types
from pathlib import Path

# itk and nrrd write MONAI Label's result files; shapely and torchvision are for contours and pictures of training;
# expiring_dict keeps images in memory between requests; pydantic and pydantic_settings read the server's settings.
NOT_NEEDED = ("itk", "nrrd", "shapely", "torchvision", "expiring_dict", "pydantic", "pydantic_settings")


class Absent(types.ModuleType):
    """Gives a class of that name for whatever is imported from it; none of them is ever made use of."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *_, **__: None})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last in the row: only what nobody else finds."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NOT_NEEDED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Absent(spec.name)

    def exec_module(self, module):
        pass


def main(jobs, results):
    sys.meta_path.append(Finder())
    import numpy as np
    from monailabel.tasks.infer.bundle import BundleInferTask

    class Task(BundleInferTask):
        """MONAI Label 0.8.5 made to work with MONAI 1.6: its entry `image_path`, a text, is kept out of the transforms.

        Spacingd of MONAI 1.6 takes every entry whose name begins with that of a NIfTI image for a dict and fails
        ('str' object has no attribute 'update'), whatever the bundle.
        """

        def run_pre_transforms(self, data, transforms):
            path = data.pop("image_path")
            return {**super().run_pre_transforms(data, transforms), "image_path": path}

    logging.disable(logging.INFO)

    failures = []
    for job in json.loads(Path(jobs).read_text()):
        try:
            task = Task(job["bundle"], {"preload": "false"})
            assert task.is_valid()
            task.skip_writer = True
            _, data = task({"image": job["image"], "device": "cpu", "logging": "WARNING"})
            np.save(job["mask"], np.asarray(data["pred"]))
            failures.append("")
        except Exception:
            failures.append(traceback.format_exc())
    Path(results).write_text(json.dumps(failures))


if __name__ == "__main__":
    main(*sys.argv[1:])
