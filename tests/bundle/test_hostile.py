"""Nothing of a bundle runs that is not in a table: every sample is refused in one line, and its marker stays away."""

import gc
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from medseg.bundle.build import build_foreign_network
from medseg.bundle.steps import built_steps
from medseg.bundle.store import find_any
from medseg.domain.errors import BundleError
from tests.bundle.hostile import config_of, harmless, put, samples, write_harmless
from tests.commands import medseg

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
    bundle = find_any(str(folder))
    built_steps(bundle)
    build_foreign_network(bundle)


def refusal(folder):
    """What loading is refused with."""
    with pytest.raises(BundleError) as refused:
        load(folder)
    return refused.value


@pytest.mark.parametrize("name", SAMPLES)
def test_a_hostile_bundle_is_refused_in_one_line_and_nothing_of_it_runs(folder, tmp_path, name):
    marker = tmp_path / "marker"
    SAMPLES[name].change(folder, marker)
    modules, started = set(sys.modules), time.perf_counter()
    error = refusal(folder)
    assert time.perf_counter() - started < 30
    assert error.exit_code == 5
    assert str(folder) in str(error)
    assert str(error).isprintable()
    assert not marker.exists()
    assert not {m for m in set(sys.modules) - modules if m.startswith(("scripts", "antigravity", "this"))}


@pytest.mark.parametrize("name", ["expression import in step", "target os.system", "pickle in weights"])
def test_the_command_says_it_in_one_line(folder, tmp_path, name):
    SAMPLES[name].change(folder, tmp_path / "marker")
    done = medseg("bundle", "check", folder)
    assert (done.code, done.out, len(done.lines)) == (5, "", 1)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.fire is not None])
def test_under_plain_loading_it_does_run(folder, tmp_path, name):
    """So the test above can fail."""
    marker = tmp_path / "marker"
    SAMPLES[name].change(folder, marker)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        with suppress(Exception):
            SAMPLES[name].fire(folder, marker)
        gc.collect()  # files that the samples leave open
    assert marker.exists()


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
