"""Windows through the network: in full batches, constant ones once, and on where memory ran out."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from medseg.domain.errors import ResourceError
from medseg.io.memory import available_bytes

Network = Callable[[Tensor], Tensor]
Tag = TypeVar("Tag")

KEPT_BYTES = 2**28  # of answers to constant windows, where they are more than one
_KEPT = 4
_WAITING = 4  # batches' worth of windows, constant ones among them, that wait for a full batch
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_NO_MEMORY = ("allocate memory", "out of memory", "not enough memory")


class Passes:
    """The network's answers to windows, in the order in which they are asked for.

    network:   (B, C, *size) -> (B, K, *size).
    batch:     windows to a pass; halved, for good, where memory does not suffice.
    on_window: told the number of windows that each pass finished.
    device:    to which windows travel, from pinned memory if it is a GPU; None: they stay where they are.

    A window all of one value in each channel (air, padding) is computed alone, and its answer serves every other window
    of those values: what a pass of its own would give. Batches hold the others. The last few answers are kept.
    """

    def __init__(
        self,
        network: Network,
        batch: int,
        on_window: Callable[[int], None] | None = None,
        device: torch.device | None = None,
    ):
        self.network, self.batch, self.on_window, self.device = network, batch, on_window, device
        self._constant: OrderedDict[bytes, Tensor] = OrderedDict()

    def run(self, windows: Iterable[tuple[Tag, Tensor]]) -> Iterator[tuple[Tag, Tensor]]:
        """(K, *size) for each window (C, *size), float32, each beside its tag.

        Raises: ResourceError where one window alone does not fit.
        """
        waiting: deque[tuple[Tag, Tensor, bytes | None]] = deque()
        varied = 0
        for tag, window in windows:
            value = constant_value(window)
            waiting.append((tag, window, value))
            varied += value is None
            if varied in (0, self.batch) or len(waiting) >= _WAITING * self.batch:
                yield from self._answer(waiting)
                varied = 0
        yield from self._answer(waiting)

    def _answer(self, waiting: deque[tuple[Tag, Tensor, bytes | None]]) -> Iterator[tuple[Tag, Tensor]]:
        answers = self._computed([window for _, window, value in waiting if value is None])
        while waiting:
            tag, window, value = waiting.popleft()
            yield tag, next(answers) if value is None else self._of_constant(window, value)

    def _computed(self, windows: Sequence[Tensor]) -> Iterator[Tensor]:
        done = 0
        while done < len(windows):
            chunk = windows[done : done + self.batch]
            logits = self._pass(chunk)
            if logits is None:
                continue
            done += len(chunk)
            self._tell(len(chunk))
            yield from logits

    def _of_constant(self, window: Tensor, value: bytes) -> Tensor:
        if value not in self._constant:
            logits = self._pass([window])
            assert logits is not None  # one window fits, or is refused
            self._constant[value] = logits[0]
            if len(self._constant) > kept_answers(logits.nbytes):
                self._constant.popitem(last=False)
        self._tell(1)
        return self._constant[value]

    def _pass(self, windows: Sequence[Tensor]) -> Tensor | None:
        """Their logits; None where memory ran out, after which the batch is smaller."""
        try:
            with torch.inference_mode():
                return self.network(self._stacked(windows)).float()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(windows) == 1:
                raise ResourceError(_too_large(windows[0], self.device)) from error
        self.batch = len(windows) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _stacked(self, windows: Sequence[Tensor]) -> Tensor:
        if self.device is None or self.device.type != "cuda" or windows[0].device.type == "cuda":
            return torch.stack(list(windows)).to(self.device or windows[0].device)
        pinned = torch.empty(len(windows), *windows[0].shape, dtype=windows[0].dtype, pin_memory=True)
        return torch.stack(list(windows), out=pinned).to(self.device, non_blocking=True)

    def _tell(self, windows: int) -> None:
        if self.on_window is not None:
            self.on_window(windows)


def kept_answers(answer_bytes: int) -> int:
    """How many answers to constant windows of so many bytes are kept: few values fill many windows, mostly air."""
    return max(min(KEPT_BYTES // answer_bytes, _KEPT), 1)


def constant_value(window: Tensor) -> bytes | None:
    """The value of each channel of a window (C, *size), bit by bit, if every voxel has it; else None."""
    bits = window.view(_BITS[window.element_size()])
    first = _voxel(bits, [0 for _ in window.shape[1:]])
    for place in ([-1 for _ in window.shape[1:]], [n // 2 for n in window.shape[1:]]):  # where most show what they are
        if not torch.equal(_voxel(bits, place), first):
            return None
    if not bool((bits == first.view(-1, *[1 for _ in window.shape[1:]])).all()):
        return None
    return first.cpu().numpy().tobytes()


def _voxel(bits: Tensor, place: Sequence[int]) -> Tensor:
    at: tuple[slice | int, ...] = (slice(None), *place)
    return bits[at]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or what torch's CPU allocator says in a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def _too_large(window: Tensor, device: torch.device | None) -> str:
    where = device or window.device
    free = torch.cuda.mem_get_info(where)[0] if where.type == "cuda" else available_bytes()
    left = "" if free is None else f" with {free / 2**30:.1f} GiB free"
    size = " x ".join(map(str, window.shape[1:]))
    return (
        f"not enough memory on {where} for the network on one window of {size} voxels and {window.shape[0]} channels"
        f"{left}; close other programs, use a larger machine" + (", or --device cpu" if where.type == "cuda" else "")
    )
