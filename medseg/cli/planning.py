"""What `medseg train` trains by: suggested from the data, taken from a file, changed by single settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from medseg.domain.manifest import Case, Fold, Manifest
    from medseg.domain.volume import Volume
    from medseg.engines.defaults import Suggestion
    from medseg.engines.plan import TrainSpec
    from medseg.engines.pretrained import Pretrained

_TOLD = 3  # values named where two plans differ


def suggested(
    manifest: Manifest,
    root: Path,
    device: torch.device,
    network: str,
    steps: int | None,
    seed: int,
    pretrained: Pretrained | None = None,
) -> Suggestion:
    """The default plan with its reasons; reads at most 64 training cases.

    Raises: InputError where there is no training case or nothing is labelled; as `load_case`.
    """
    from medseg.data.fingerprint import fingerprint, sample_cases
    from medseg.domain.errors import InputError
    from medseg.engines.defaults import describe_device, suggest

    cases = manifest.part("train")
    if not cases:
        raise InputError(f"{manifest.name}: has no training cases; build the manifest with --split GROUP=train")
    seen = fingerprint(
        _readable(manifest, sample_cases(cases), root),
        len(cases),
        manifest.labels.values,
        manifest.labels.kind == "instances",
    )
    return suggest(manifest, seen, describe_device(device, _memory_bytes()), network, steps, seed, pretrained)


def _readable(manifest: Manifest, cases: Sequence[Case], root: Path) -> Iterator[tuple[Volume, NDArray[Any]]]:
    """Those that can be used; the others are refused all together when the training reads them.

    Raises: InputError with their reasons if there are no others.
    """
    from medseg.data.dataset import load_case, together
    from medseg.domain.errors import InputError

    refused: list[InputError] = []
    for case in cases:
        try:
            pair = load_case(manifest, case, root)
        except InputError as error:
            refused.append(error)
        else:
            yield pair
    if len(refused) == len(cases):
        raise together(refused, root, f"all {len(refused)} cases that were looked at")


def require_apart(manifest: Manifest) -> None:
    """Raises: InputError if an image that trains is also to be scored, under another name."""
    from medseg.domain.errors import InputError

    trains = {case.sha256[0]: case.id for case in manifest.part("train")}
    twice = [case for case in manifest.cases if case.split != "train" and case.sha256[0] in trains]
    if twice:
        raise InputError(
            f"{manifest.name}: {twice[0].id} ({twice[0].split}) is the image of {trains[twice[0].sha256[0]]} (train), "
            f"one of {len(twice)} such; drop one of each pair, or put both into one group"
        )


def pretrained(name: str, preset: str, manifest: Manifest, fold: Fold | None) -> Pretrained:
    """What a training of the manifest starts from: a bundle of this project; of an ensemble, its first network.

    preset: the network asked for; the default "unet" asks for none.
    Raises: UsageError for one that cannot be trained on as it is, or that has seen what the fold holds out;
    BundleError for a damaged one.
    """
    from dataclasses import replace

    from medseg.bundle.store import find_bundle
    from medseg.bundle.weights import load_network
    from medseg.domain.errors import UsageError
    from medseg.engines.pretrained import Pretrained
    from medseg.networks.ensemble import first_member

    stored = find_bundle(name)
    bundle = stored
    if bundle.network.spatial_dims != manifest.spatial_dims:
        raise UsageError(
            f"--pretrained {name}: is for {bundle.network.spatial_dims}-D images, {manifest.name} holds "
            f"{manifest.spatial_dims}-D ones"
        )
    if preset not in ("unet", bundle.network.preset):
        raise UsageError(f"--pretrained {name}: is a {bundle.network.preset}; leave out --network {preset}")
    scored = [case for case in manifest.cases if case.split != "train"]
    if known := bundle.seen_of(scored):
        raise UsageError(
            f"--pretrained {name}: has seen {len(known)} of the {len(scored)} images that are to be scored; start from "
            "another, or hold out what it held out"
        )
    if not bundle.seen and bundle.data_source == manifest.source and bundle.fold != fold:
        raise UsageError(
            f"--pretrained {name}: was trained on {_held(bundle.fold)} of the same data, which is not "
            f"{_held(fold)}: cases to be scored may be among those it has seen; hold out what it held out"
        )
    network, weights = bundle.network, load_network(stored).state_dict()
    if network.members > 1:
        options = {name: value for name, value in (network.options or {}).items() if name != "members"}
        network, weights = replace(network, options=options or None), first_member(weights)
    return Pretrained(bundle.name, network, bundle.preprocess, bundle.weights_sha256, weights)


def _held(fold: Fold | None) -> str:
    return "the manifest's splits" if fold is None else f"all but fold {fold}"


def started(spec: TrainSpec, pretrained: Pretrained | None) -> TrainSpec:
    """The plan, starting from those weights.

    Raises: UsageError where it starts from others, or is of another network.
    """
    from dataclasses import replace

    from medseg.domain.errors import UsageError

    if pretrained is not None:
        spec = replace(spec, pretrained=spec.pretrained or pretrained.sha256)
        pretrained.require_fit(spec)
    elif spec.pretrained:
        raise UsageError(f"the plan starts from weights {spec.pretrained[:12]}; give their bundle with --pretrained")
    return spec


def with_settings(spec: TrainSpec, settings: Sequence[str]) -> TrainSpec:
    """The plan with single values replaced: "batch.count=4", "network.widths=[16,32]", "keep=last".

    Raises: UsageError for a key that the plan has not, or a value of another type.
    """
    import json

    from medseg.domain.errors import UsageError
    from medseg.domain.spec import from_plain, to_plain
    from medseg.engines.plan import TrainSpec

    plain: dict[str, Any] = to_plain(spec)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise UsageError(f"--set {setting}: give KEY=VALUE, as batch.count=4; the keys are those of plan.json")
        try:
            value = json.loads(text)
        except ValueError:
            value = text  # a word needs no quotes
        *parents, last = path.split(".")
        place = plain
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {setting}: {parent} holds no further keys")
        place[last] = value
    return from_plain(TrainSpec, plain, "--set")


def read_plan(path: Path) -> TrainSpec:
    """Raises: UsageError, naming the file, for one that is missing or no plan."""
    import json

    from medseg.domain.errors import UsageError
    from medseg.domain.spec import from_plain
    from medseg.engines.plan import TrainSpec

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--plan {path}: cannot be read as JSON ({error}); give the plan.json of a training"
        ) from error
    return from_plain(TrainSpec, data, str(path))


def keep_plan(spec: TrainSpec, work: Path) -> None:
    """plan.json of the training; raises UsageError where the folder holds the checkpoints of another plan."""
    import json

    from medseg.domain.errors import UsageError
    from medseg.domain.spec import to_plain
    from medseg.io.files import write_text

    path = work / "plan.json"
    if any(work.glob("step-*.pt")) and path.exists() and (kept := read_plan(path)) != spec:
        raise UsageError(
            f"{path}: is another plan than asked for ({_differences(to_plain(kept), to_plain(spec))}); ask for what it "
            "says, choose another --work folder or delete this one"
        )
    write_text(path, json.dumps(to_plain(spec), indent=1) + "\n")


def _differences(kept: dict[str, Any], asked: dict[str, Any]) -> str:
    """The values in which two plans differ, the first few of them."""
    old, new = _leaves(kept), _leaves(asked)
    names = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    told = [f"{name} {old.get(name, 'absent')} there, {new.get(name, 'absent')} asked for" for name in names[:_TOLD]]
    return "; ".join(told) + (f"; and {len(names) - _TOLD} more" if len(names) > _TOLD else "")


def _leaves(plain: dict[str, Any], within: str = "") -> dict[str, Any]:
    """The values of nested data by names such as `network.widths`."""
    leaves: dict[str, Any] = {}
    for name, value in plain.items():
        leaves |= _leaves(value, f"{within}{name}.") if isinstance(value, dict) else {f"{within}{name}": value}
    return leaves


def keep_fingerprint(suggestion: Suggestion, work: Path) -> None:
    """fingerprint.json: what the data look like, and the reason of every default; that of a training begun stays."""
    import json

    from medseg.domain.spec import to_plain
    from medseg.io.files import write_text

    if any(work.glob("step-*.pt")):
        return
    content = {"fingerprint": to_plain(suggestion.seen), "reasons": suggestion.reasons}
    write_text(work / "fingerprint.json", json.dumps(content, indent=1) + "\n")


def explained(suggestion: Suggestion) -> list[str]:
    """A line for every choice: its key in the plan, the value, the reason."""
    import json

    from medseg.domain.spec import to_plain

    plain = to_plain(suggestion.spec)
    lines = []
    for key, reason in suggestion.reasons.items():
        value: Any = plain
        for part in key.split("."):
            value = (value or {}).get(part)
        shown = "" if isinstance(value, dict) else f" {json.dumps(1 if value is None else value)}"
        lines.append(f"{key}{shown}: {reason}")
    return lines


def reasons_of(suggestion: Suggestion, spec: TrainSpec) -> dict[str, str]:
    """The reasons of a plan that was suggested; what was then changed says so."""
    from medseg.domain.spec import to_plain
    from medseg.reports.training import flat

    before, after = flat(to_plain(suggestion.spec)), flat(to_plain(spec))
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return suggestion.reasons | dict.fromkeys(changed, "set on the command line")


def _memory_bytes() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
