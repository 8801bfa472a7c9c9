"""What the label values of a third-party bundle are called, as far as its metadata and its postprocessing say."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from medseg.domain.errors import InputError
from medseg.domain.labels import Label, LabelTable

if TYPE_CHECKING:
    from medseg.bundle.foreign import MonaiBundle


def table_of(bundle: MonaiBundle, values: Iterable[int]) -> tuple[LabelTable, list[str]]:
    """The labels by value: the mask's own names, else those of the channels where the largest channel decides.

    Values without a name are called label_<value>, and a note says so; none is renumbered.
    """
    about = bundle.about
    trusted = about.of_mask or _channels_are_values(bundle)
    names = {v: n for v, n in about.outputs.items() if v > 0} if trusted else {}
    found = sorted(int(v) for v in values if v > 0)
    unnamed = [v for v in found if v not in names]
    names |= {v: f"label_{v}" for v in unnamed}
    names = names or {1: "label_1"}
    labels: dict[str, Label] = {}
    for n, (value, name) in enumerate(sorted(names.items())):
        clean = re.sub(r"[^\w .()/+-]", "_", name).strip()[:60] or f"label_{value}"
        clean = clean if re.match(r"\w", clean) else f"label_{value}"
        clean = f"{clean} {value}" if clean in labels else clean
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.65, 0.9))
        labels[clean] = Label(value, clean, (red, green, blue))
    notes = [f"metadata.json names no label {', '.join(map(str, unnamed))}; called label_<value>"] if unnamed else []
    return LabelTable(tuple(labels.values())), notes


def require_labels(bundle: MonaiBundle, wanted: LabelTable, where: str) -> None:
    """Raises: InputError unless the bundle has each of the labels, by the same value and, capitals aside, name."""
    names = {label.value: label.name for label in table_of(bundle, ())[0]} if bundle.about.outputs else {}
    for label in wanted:
        name = names.get(label.value)
        if name is None or name.casefold() != label.name.casefold():
            called = f"calls {label.value} {name!r}" if name else f"has no name for {label.value}"
            raise InputError(
                f"{where}: label {label.value} is {label.name!r}, bundle {bundle.about.name} {called}; "
                "labels are scored where value and name are the same: write a manifest with the bundle's"
            )


def _channels_are_values(bundle: MonaiBundle) -> bool:
    """Whether a value is the number of the network's channel: the largest decides, and nothing renames it after."""
    steps = bundle.postprocessing
    decided = [n for n, step in enumerate(steps) if step.arguments.get("argmax") not in (None, False)]
    return bool(decided) and not any(step.name in ("Lambdad", "LabelFilterd") for step in steps[decided[0] :])
