"""An exported network run without medseg, by what the JSON beside it says: `run_export.py ABOUT IMAGE MASK`.

Only numpy and the format's own runtime: an import of medseg is an error. IMAGE is an .npy (C, *S) on the network's
grid, MASK becomes the .npy (*S) of label values; labels by argmax only, and no pieces removed.
"""

import json
import sys
from itertools import product
from pathlib import Path


class Blocker:
    """First in the row."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("medseg", "monai", "openvino_telemetry"):
            raise ModuleNotFoundError(f"{name} is not there", name=name)


def load(kind, path):
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda x: session.run(["pred"], {"image": x})[0]
    if kind == "openvino":
        import openvino

        model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda x: model({"image": x})["pred"]
    import torch

    loaded = torch.jit.load(str(path)) if kind == "torchscript" else torch.export.load(path).module()

    def run(x):
        with torch.no_grad():
            return loaded(torch.from_numpy(x)).numpy()

    return run


def main(about, image, mask):
    sys.meta_path.insert(0, Blocker())
    import numpy as np

    said = json.loads(Path(about).read_text())
    run = load(said["kind"], Path(about).with_name(said["files"][0]["name"]))
    x = np.load(image).astype(np.float32)
    kind = said["preprocessing"]["normalise"]["kind"]
    if kind == "zscore":
        x = (x - x.mean()) / x.std()
    else:
        assert kind == "percentile"
        low, high = np.percentile(x, (1, 99))
        x = ((x - low) / (high - low)).astype(np.float32)
    windows = said["windows"]
    size = windows["size"]
    before = [max(w - n, 0) // 2 for w, n in zip(size, x.shape[1:], strict=True)]
    pads = [(b, max(w - n, 0) - b) for b, w, n in zip(before, size, x.shape[1:], strict=True)]
    padded = np.pad(x, [(0, 0), *pads])
    weight = np.ones(size, np.float64)
    if windows["weighting"] == "gaussian":
        for axis, n in enumerate(size):
            profile = np.exp(-((np.arange(n) - (n - 1) / 2) ** 2) / (2 * (n / 8) ** 2))
            weight *= profile.reshape([-1 if a == axis else 1 for a in range(len(size))])
        weight = np.maximum(weight, 1e-3)
    starts = []
    for n, w in zip(padded.shape[1:], size, strict=True):
        step = max(int(w * (1 - windows["overlap"])), 1)
        starts.append(sorted({min(s, n - w) for s in range(0, n - w + step, step)}))
    total = np.zeros((len(said["output"]["channels"]), *padded.shape[1:]))
    weights = np.zeros(padded.shape[1:])
    for corner in product(*starts):
        box = tuple(slice(c, c + w) for c, w in zip(corner, size, strict=True))
        logits = run(np.ascontiguousarray(padded[(slice(None), *box)][None], np.float32))[0]
        total[(slice(None), *box)] += weight * logits
        weights[box] += weight
    inside = tuple(slice(b, b + n) for b, n in zip(before, x.shape[1:], strict=True))
    classes = (total / weights)[(slice(None), *inside)].argmax(0)
    np.save(mask, np.array(said["postprocessing"]["values"])[classes])
    assert not any(name.partition(".")[0] == "medseg" for name in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
