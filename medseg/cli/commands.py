"""The commands of `medseg`, each imported when it is called: help needs their lines, not their modules."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group
from typer.models import CommandInfo


@dataclass(frozen=True)
class Command:
    """Where a command's function, or the typer app of a group, stands in `medseg.cli`, and what it does in one line."""

    place: str
    line: str


COMMANDS = {
    "segment": Command("segment.segment", "Segment images with a bundle; one mask for each input."),
    "train": Command("train.train", "Train a network on a data set and pack it as a bundle."),
    "evaluate": Command("evaluate.evaluate", "Score the masks of a bundle against the experts'."),
    "compare": Command("compare.compare", "Compare bundles case by case on one page."),
    "crossval": Command("crossval.crossval", "Train one bundle for each fold and score it there."),
    "convert": Command("convert.convert", "Write masks in other forms, on the same voxels."),
    "view": Command("view.view", "Show an image with its mask; nothing leaves this machine."),
    "demo": Command("demo.demo", "Segment example images: NIfTI, DICOM and a micrograph."),
    "doctor": Command("doctor.doctor", "Look for what is missing here; each gap comes with its cure."),
    "bundle": Command("bundle_all.app", "List, show, check, make, export and download bundles."),
    "manifest": Command("manifest.app", "Describe labelled data sets and check them."),
    "dicom": Command("dicom.app", "Look into DICOM folders."),
}


class Commands(TyperGroup):
    """The group of COMMANDS."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.commands = {name: TyperCommand(name=name, help=command.line) for name, command in COMMANDS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, imported now; None for an unknown name."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Their names and lines, cut to the width of the screen."""
        width = formatter.width - 6 - max(map(len, self.commands))
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(width)) for name, one in self.commands.items()])


def _load(name: str) -> Any:
    module, _, attribute = COMMANDS[name].place.partition(".")
    found = getattr(import_module(f"medseg.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    return get_command_from_info(CommandInfo(name, callback=found), pretty_exceptions_short=True, rich_markup_mode=None)
