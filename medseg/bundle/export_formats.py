"""A network as a file of torch.export, ONNX, OpenVINO or TorchScript, and such a file as a callable again."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medseg.backends.openvino import import_openvino
from medseg.bundle.export_sizes import Sizes
from medseg.bundle.quiet import quiet
from medseg.domain.errors import UsageError

Run = Callable[[Tensor], Tensor]
OPSET = 18
_PLACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


@dataclass(frozen=True)
class Format:
    """One kind of file.

    endings:  of the files, the one that is loaded first.
    packages: what has to be installed beside torch, by the extra of medseg that brings them.
    bound:    largest difference from torch that is let through, as a share of the largest logit (at least of 1).
    write:    the network as files, of which the first has this path; returns the versions that matter.
    load:     those files as (B, C, *S) -> (B, K, *S).
    """

    endings: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    bound: float
    write: Callable[[nn.Module, Sizes, Path], dict[str, str | int]]
    load: Callable[[Path], Run]

    def require_packages(self) -> None:
        """Raises: UsageError that names the extra, where one is missing."""
        missing = [name for name in self.packages if find_spec(name) is None]
        if missing:
            raise UsageError(f"{', '.join(missing)} not installed, which this format needs: {self.fix}")

    @property
    def fix(self) -> str:
        """The command that installs what it needs."""
        return f"pip install 'medseg[{self.extra}]'"


def _write_program(network: nn.Module, sizes: Sizes, path: Path) -> dict[str, str | int]:
    torch.export.save(_program(network, sizes), path)
    return {"torch": torch.__version__}


def _load_program(path: Path) -> Run:
    return torch.export.load(path).module()


def _write_onnx(network: nn.Module, sizes: Sizes, path: Path) -> dict[str, str | int]:
    import onnx

    made = torch.onnx.export(
        _program(network, sizes),
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["pred"],
        verbose=False,
    )
    assert made is not None
    made.save(path, external_data=False)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    (opset,) = (used.version for used in model.opset_import if used.domain in ("", "ai.onnx"))
    return {"torch": torch.__version__, "onnx": version("onnx"), "onnxscript": version("onnxscript"), "opset": opset}


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["pred"], {"image": x.numpy()})[0])


def _write_openvino(network: nn.Module, sizes: Sizes, path: Path) -> dict[str, str | int]:
    package = import_openvino()
    model = package.convert_model(_program(network, sizes))
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"pred"})
    package.save_model(model, path, compress_to_fp16=False)
    return {"torch": torch.__version__, "openvino": version("openvino")}


def _load_openvino(path: Path) -> Run:
    model = import_openvino().Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: torch.from_numpy(model(x.numpy())[0].copy())


def _write_script(network: nn.Module, sizes: Sizes, path: Path) -> dict[str, str | int]:
    traced = torch.jit.trace(network, torch.zeros(sizes.example), check_trace=False)
    whole = path.with_suffix(".whole")
    traced.save(str(whole))
    _without_places(whole, path)
    whole.unlink()
    return {"torch": torch.__version__}


def _load_script(path: Path) -> Run:
    return torch.jit.load(str(path), map_location="cpu")


FORMATS = {
    "torch-export": Format((".pt2",), (), "", 1e-5, _write_program, _load_program),
    "onnx": Format((".onnx",), ("onnx", "onnxscript", "onnxruntime"), "onnx", 1e-4, _write_onnx, _load_onnx),
    "openvino": Format((".xml", ".bin"), ("openvino",), "openvino", 1e-4, _write_openvino, _load_openvino),
    "torchscript": Format((".ts",), (), "", 1e-5, _write_script, _load_script),
}


@contextmanager
def exporters() -> Iterator[None]:
    """Without the exporters' words to their developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet(), torch.no_grad():
            yield
    finally:
        logger.setLevel(level)


def _program(network: nn.Module, sizes: Sizes) -> Any:
    """What `torch.export` sees of the network, without the places of source files on this computer."""
    program = torch.export.export(network, (torch.zeros(sizes.example),), dynamic_shapes=(sizes.dimensions(),))
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for name in _PLACES:
                node.meta.pop(name, None)
    return program


def _without_places(source: Path, target: Path) -> None:
    """The TorchScript file without what is for debuggers: lines and paths of the sources on this computer."""
    reader = torch._C.PyTorchFileReader(str(source))
    writer = torch._C.PyTorchFileWriter(str(target))
    for name in reader.get_all_records():
        if not re.search(r"\.debug_pkl$|^\.data/|^(version|byteorder)$", name):
            content = reader.get_record(name)
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()
