"""Nothing of a bundle runs that is not in a table: every sample is refused in one line, and its marker stays away."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from medseg.bundle.build import build_foreign_network
from medseg.bundle.steps import built_steps
from medseg.bundle.store import find_any
from medseg.domain.errors import BundleError
from tests.audit import watched
from tests.bundle.hostile import config_of, harmless, put, samples, write_harmless
from tests.bundle.hostile_zips import zip_of
from tests.bundle.mechanisms import MECHANISMS, NO_HARM
from tests.commands import medseg
from tests.fuzz.harness import less_memory

HERE = Path(__file__).parent

SAMPLES = {sample.name: sample for sample in samples()}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return write_harmless(tmp_path_factory.mktemp("twin") / "b")


@pytest.fixture
def folder(twin, tmp_path):
    """A copy of the harmless bundle."""
    import shutil

    return Path(shutil.copytree(twin, tmp_path / "b"))


def test_the_harmless_twin_is_accepted(folder):
    done = medseg("bundle", "check", folder)
    assert (done.code, done.err) == (0, "")


def test_names_are_unique_and_mechanisms_many():
    assert len(SAMPLES) == len(samples())
    assert len(SAMPLES) > 150


def load(folder):
    """Read the bundle, build its steps, load its weights."""
    packed = zip_of(folder)
    bundle = find_any(str(packed if packed.exists() else folder))
    built_steps(bundle)
    build_foreign_network(bundle)


def refusal(folder):
    """What loading is refused with."""
    with pytest.raises(BundleError) as refused:
        load(folder)
    return refused.value


@pytest.mark.parametrize("name", SAMPLES)
def test_a_hostile_bundle_is_refused_in_one_line_and_nothing_of_it_runs(folder, tmp_path, name, monkeypatch):
    """Within 2 s of a processor and half a GiB; nothing is started, connected or written, no file read elsewhere."""
    monkeypatch.setenv("MEDSEG_HOME", str(tmp_path / "home"))
    marker = tmp_path / "marker"
    SAMPLES[name].change(folder, marker)
    before, modules, started = set(tmp_path.rglob("*")), set(sys.modules), time.process_time()
    with less_memory(), watched([folder, zip_of(folder), tmp_path / "home"], imports=True) as did:
        error = refusal(folder)
    assert time.process_time() - started < 2
    assert did == []
    assert error.exit_code == 5
    assert str(folder) in str(error)
    assert str(error).isprintable()
    assert not marker.exists()
    assert {p for p in set(tmp_path.rglob("*")) - before if tmp_path / "home" not in (p, *p.parents)} == set()
    assert not {m for m in set(sys.modules) - modules if m.startswith(("scripts", "antigravity", "this"))}


@pytest.mark.parametrize("name", ["expression import in step", "target os.system", "pickle in weights"])
def test_the_command_says_it_in_one_line(folder, tmp_path, name):
    SAMPLES[name].change(folder, tmp_path / "marker")
    done = medseg("bundle", "check", folder)
    assert (done.code, done.out, len(done.lines)) == (5, "", 1)
    assert not (tmp_path / "marker").exists()


@pytest.fixture(scope="module")
def fired(tmp_path_factory):
    """By name, whether a sample did its harm where it was loaded plainly, in a process of its own."""
    folder = tmp_path_factory.mktemp("fired")
    command = [sys.executable, "-m", "tests.bundle.plain_loading", folder]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of memory and time")
def test_under_plain_loading_they_do_harm(fired):
    """So the tests above can fail."""
    assert not [name for name, did in fired.items() if not did]
    assert set(fired) == {name for name, sample in SAMPLES.items() if sample.fire is not None}
    assert len({mechanism_of(name) for name in fired}) >= 20


def mechanism_of(name):
    """The one that a sample shows."""
    (found,) = [m for m, (_, begins) in MECHANISMS.items() if name.startswith(begins)]
    return found


def mechanisms_table():
    """The table of docs/bundles.md."""
    lines = ["| what a bundle may try | under plain loading | samples here |", "| --- | --- | --- |"]
    counts = Counter(map(mechanism_of, SAMPLES))
    return "\n".join([*lines, *(f"| {name} | {harm} | {counts[name]} |" for name, (harm, _) in MECHANISMS.items())])


def test_every_mechanism_that_is_said_to_harm_has_a_sample_that_does():
    harmless = {name for name, (harm, _) in MECHANISMS.items() if harm == NO_HARM}
    firing = {mechanism_of(name) for name, sample in SAMPLES.items() if sample.fire is not None}
    assert firing == set(MECHANISMS) - harmless
    assert {mechanism_of(name) for name in SAMPLES} == set(MECHANISMS)


def test_the_docs_list_the_mechanisms():
    text = (HERE.parents[1] / "docs" / "bundles.md").read_text(encoding="utf-8")
    table = text.split("<!-- mechanisms: begin -->")[1].split("<!-- mechanisms: end -->")[0].strip()
    assert table == mechanisms_table(), f"write this into docs/bundles.md:\n{mechanisms_table()}"


def test_what_is_not_read_stays_inert(folder, tmp_path):
    """Loaders, handlers, imports and code files of a bundle that needs none of them."""
    marker = tmp_path / "marker"
    fire = f"$__import__('pathlib').Path({str(marker)!r}).touch()"
    more = dict.fromkeys(("initialize", "run", "dataset", "dataloader", "handlers", "evaluator", "anything"), fire)
    put(folder, {**config_of(folder), **more, "imports": [fire, "$import scripts.evil"]})
    (folder / "scripts").mkdir()
    (folder / "scripts" / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    (folder / "configs" / "logging.conf").write_text("[loggers]\n")
    done = medseg("bundle", "check", folder)
    assert (done.code, done.err) == (0, "")
    assert not marker.exists()
    assert harmless()["inferer"] == config_of(folder)["inferer"]
