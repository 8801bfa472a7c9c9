"""The model card, docs/README.md: written when a bundle is packed, its scores by the command that measured them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medseg.bundle.bundle import Bundle
from medseg.bundle.pack import write_json
from medseg.domain.errors import BundleError
from medseg.io.files import write_text

_BEGIN, _END = "<!-- scores: begin -->", "<!-- scores: end -->"
_VIEW = "Field of view: "


def new_card(bundle: Bundle, parameters: int, training: str) -> str:
    """A card without scores; `training` tells how the weights came about."""
    spec = bundle.network
    of, in_all = (f"{spec.members} of ", " in all") if spec.members > 1 else ("", "")
    labels = "\n".join(f"| {label.value} | {label.name} |" for label in bundle.labels)
    instances = bundle.labels.kind == "instances"
    meaning = "Every instance has a number of its own, 1..n; 0 is background." if instances else "0 is background."
    view = f"\n{view_line(bundle)}\n" if bundle.field_of_view else ""
    never_empty = f"\n\n{unasked_line(bundle)}" if bundle.always_labelled else ""
    return f"""# {bundle.name}

{bundle.task}. {bundle.description}

Research only: this is not a medical device and must not be used for diagnosis.

## Input and output

{bundle.modality}, {spec.spatial_dims}-D, {"colour or grey" if spec.in_channels == 3 else "one grey channel"}.
{view}
| value | label |
| --- | --- |
{labels}

{meaning} The mask lies on the grid of the image.

```
medseg segment IMAGE -b {bundle.name} -o OUT
```

## Network and training

{of}`{spec.preset}`, widths {", ".join(map(str, spec.widths))}: {parameters / 1e6:.2f} million parameters{in_all}.
{training}

Data: {bundle.data_source}. Licence of the data: {bundle.data_licence}.

## Scores

{_BEGIN}
Not measured yet.
{_END}

## Limits

The scores hold for images like those of the data set above. Other scanners, sequences, stains, magnifications, ages and
diseases are untested. Cases of one patient or one slide may stand in several splits where the source does not tell
them apart.{never_empty}
"""


def unasked_line(bundle: Bundle) -> str:
    """What a bundle that saw only images with labels may do with others, in one line."""
    names = " or ".join(bundle.labels.names)
    return f"Every image that trained it holds {names}: on images without, it may mark some all the same."


def view_line(bundle: Bundle) -> str:
    """What size of image the bundle takes, in one line; empty where it declares none."""
    if bundle.field_of_view is None:
        return ""
    low, high = bundle.field_of_view.smallest_mm, bundle.field_of_view.largest_mm
    ranges = " x ".join(f"{a:g}-{b:g}" for a, b in zip(low, high, strict=True))
    line = f"{_VIEW}{ranges} mm (right-left, front-back, up-down). "
    if bundle.network.spatial_dims == 2:
        return line + "It is asked of the slices of a volume; pictures do not tell it."
    if bundle.localiser is None:
        return line + "Larger images need `--roi`."
    names = " and ".join(region.name for region in bundle.localiser.regions)
    return line + f"In larger images the regions {names} are found by a template, or given by `--roi`."


def renew_view(card: str, bundle: Bundle) -> str:
    """The card with the line about the field of view as it now is."""
    return "\n".join(view_line(bundle) if line.startswith(_VIEW) else line for line in card.split("\n"))


def fill_scores(stored: Bundle, scores: str, summary: dict[str, float]) -> None:
    """Put the table into the card and the means into metadata.json.

    Raises: BundleError if the card is missing or has lost the place for them.
    """
    card = stored.folder / "docs" / "README.md"
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{card}: the card cannot be read ({error}); copy the bundle again") from error
    if text.count(_BEGIN) != 1 or text.count(_END) != 1 or text.index(_BEGIN) > text.index(_END):
        raise BundleError(f"{card}: the lines {_BEGIN} and {_END} are missing; put them where the scores belong")
    before, rest = text.split(_BEGIN)
    write_text(card, before + _BEGIN + "\n" + scores.strip() + "\n" + _END + rest.split(_END)[1])
    path = stored.folder / "configs" / "metadata.json"
    metadata: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    metadata["eval_metrics"] = summary
    write_json(path, metadata)
