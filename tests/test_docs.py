"""The commands that the documents show exist: make targets, medseg's commands and their options, extras to install."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("docs/**/*.md"))]
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*")


def commands_of(text):
    """The simple commands of all ```bash fences, as lists of words; joined lines, && and pipes are taken apart."""
    found = []
    for block in re.findall(r"^[ \t]*```bash[^\n]*\n(.*?)^[ \t]*```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split = True
            command = []
            for word in [*lexer, ";"]:
                if set(word) <= set(";|&("):
                    found.append(command)
                    command = []
                else:
                    command.append(word)
    return [stripped for command in found if (stripped := without_assignments(command))]


def without_assignments(command):
    while command and ASSIGNMENT.fullmatch(command[0]):
        command = command[1:]
    return command


def medseg_arguments(command):
    """What stands behind `medseg`, called directly or as the image of `docker run`; None for another command."""
    if Path(command[0]).name == "medseg":
        return command[1:]
    if command[:2] == ["docker", "run"]:
        images = [n for n, word in enumerate(command) if word.split(":")[0] == "medseg"]
        return command[images[0] + 1 :] if images else None
    return None


def fault_of(arguments):
    """What `medseg ARGUMENTS` would trip over: an unknown command or option; None if nothing."""
    import click
    import typer

    from medseg.cli.main import app

    command, path = typer.main.get_command(app), ["medseg"]
    words = list(arguments)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        if words and words[0].startswith("-"):
            break  # options of the group itself: --version, --help
        if not words:
            return None
        if words[0] not in command.commands:
            return f"{' '.join(path)} has no command {words[0]!r}"
        path.append(words[0])
        command = command.get_command(None, words.pop(0))
    known = {"--help", "-h"}.union(*(set(p.opts) | set(p.secondary_opts) for p in command.params))
    for word in words:
        option = word.partition("=")[0]
        if re.match(r"--?[A-Za-z]", option) and option not in known:
            return f"{' '.join(path)} has no option {option}"
    return None


def make_targets():
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def make_variables():
    return set(re.findall(r"^(\w+) [?:]?=", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def faults_in(text):
    extras = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    faults = []
    for command in commands_of(text):
        arguments = medseg_arguments(command)
        if arguments is not None and (fault := fault_of(arguments)):
            faults.append(fault)
        if command[0] == "make":
            faults += [f"no make target {w!r}" for w in command[1:] if "=" not in w and w not in make_targets()]
            given = {word.partition("=")[0] for word in command[1:] if "=" in word}
            faults += [f"no make variable {name!r}" for name in given - make_variables()]
        if "install" in command:
            asked = {name for word in command for name in re.sub(r".*\[(.*)\].*|.*", r"\1", word).split(",") if name}
            faults += [f"no extra {name!r}" for name in asked - extras]
    return faults


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_of_a_document_exists(name):
    assert faults_in((REPOSITORY / name).read_text()) == []


def test_the_readme_shows_how_to_install_try_and_test():
    shown = [" ".join(command) for command in commands_of((REPOSITORY / "README.md").read_text())]
    assert {"make install", "make demo", "make test"} <= set(shown)
    assert any(medseg_arguments(command.split()) for command in shown)


def test_every_phony_target_is_a_target():
    text = (REPOSITORY / "Makefile").read_text()
    assert (
        set(re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.MULTILINE)[1].replace("\\", "").split()) == make_targets()
    )


def fence(line):
    return f"Text.\n```bash\n{line}\n```\nmake nothing\n"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("make install && make tset", "no make target 'tset'"),
        ("make install TROCH=x", "no make variable 'TROCH'"),
        ("medseg sgement scan.nii.gz", "medseg has no command 'sgement'"),
        ("medseg train x.json --stpes 3", "medseg train has no option --stpes"),
        ("A=1 .venv/bin/medseg train \\\n  --stpes=3 x.json | cat", "medseg train has no option --stpes"),
        ("docker run --rm -v x:/data medseg train -o y --stpes 3", "medseg train has no option --stpes"),
        ("pip install -e '.[demo,dve]'", "no extra 'dve'"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line, fault):
    assert faults_in(fence(line)) == [fault]


@pytest.mark.parametrize(
    "line",
    [
        "make install TORCH='torch==2.13.0'  # a comment --with options",
        "medseg --version; medseg --help",
        "$ MEDSEG_DATA=~/data medseg train data_manifests/nuclei.json -o out --steps 3 > log.txt",
        "docker build -t medseg .",
        "pip install -e '.[demo,dev]'",
        "echo 'medseg sgement'",
    ],
)
def test_a_command_that_exists_is_accepted(line):
    assert faults_in(fence(line)) == []


# What leaves this folder


def test_a_wheel_holds_the_readmes_bundles_and_none_that_a_user_trained():
    told = set(re.findall(r"\]\((bundles/\w+)/docs/README\.md\)", (REPOSITORY / "README.md").read_text()))
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    packed = build["targets"]["wheel"]["force-include"]
    assert packed == {folder: folder.replace("bundles", "medseg/_bundles") for folder in told}


def test_an_image_takes_no_training_along():
    """Trainings and evaluations beside a bundle hold pictures of the user's cases."""
    kept_out = [line for line in (REPOSITORY / ".gitignore").read_text().splitlines() if line.startswith("/bundles/")]
    assert len(kept_out) == 2
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for line in kept_out:
        assert line.strip("/") in ignored[ignored.index("!bundles") :]
