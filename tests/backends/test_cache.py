"""What is kept on disk saves time and decides nothing: damaged, foreign or absent, the answer is the same."""

import os
import stat

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.backends import cache as module
from medseg.backends import onnxruntime as onnx_module
from medseg.backends import openvino as openvino_module
from medseg.backends.backend import BUILDS
from medseg.backends.cache import cache_folder, read_entry, write_entry
from tests.backends.test_same_answer import network_of, require, windows_for

CPU = torch.device("cpu")
KEY, OTHER = "a" * 64, "b" * 64
MAKERS = {"openvino": (openvino_module, "_converted"), "onnxruntime": (onnx_module, "_exported")}


def flipped(content, place):
    """The bytes with every bit of one turned round, whatever it was: writing a fixed value may change nothing."""
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@given(content=st.binary(max_size=200))
def test_what_was_kept_comes_back(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("cache")
    write_entry(folder, KEY, "x", content)
    assert read_entry(folder, KEY, "x") == content
    assert read_entry(folder, OTHER, "x") is None
    assert read_entry(None, KEY, "x") is None


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans())
def test_a_changed_bit_or_a_missing_end_is_nothing(tmp_path_factory, place, bit, cut):
    folder = tmp_path_factory.mktemp("cache")
    write_entry(folder, KEY, "x", b"compiled network")
    path = folder / f"{KEY}.x"
    content = bytearray(path.read_bytes())
    place %= len(content)
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    assert read_entry(folder, KEY, "x") is None


def test_an_entry_under_another_name_is_nothing(tmp_path):
    write_entry(tmp_path, KEY, "x", b"compiled network")
    (tmp_path / f"{KEY}.x").rename(tmp_path / f"{OTHER}.x")
    assert read_entry(tmp_path, OTHER, "x") is None


def test_the_folder_is_for_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "new"))
    folder = cache_folder()
    assert folder == tmp_path / "new" / "compiled"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert cache_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_somebody_elses_folder_or_a_file_is_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path))
    (tmp_path / "compiled").write_text("a file")
    assert cache_folder() is None
    (tmp_path / "compiled").unlink()
    assert cache_folder() is not None
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "compiled").stat().st_uid + 1)
    assert cache_folder() is None


def test_the_place_follows_the_systems_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "medseg" / "compiled"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for name in ("MEDSEG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.Path, "home", nobody)
    assert cache_folder() is None


def test_the_oldest_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 4000)
    for n in range(8):
        write_entry(tmp_path, f"{n}" * 64, "x", bytes(800))
        os.utime(tmp_path / f"{f'{n}' * 64}.x", (n, n))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert read_entry(tmp_path, "0" * 64, "x") is None
    assert read_entry(tmp_path, "7" * 64, "x") == bytes(800)


@pytest.mark.parametrize("backend", MAKERS)
def test_a_second_start_makes_nothing_and_a_damaged_cache_is_made_again(backend, tmp_path, monkeypatch):
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 2)
    maker, name = MAKERS[backend]
    make, made = getattr(maker, name), []

    def counted(*arguments):
        made.append(1)
        return make(*arguments)

    monkeypatch.setattr(maker, name, counted)

    def start():
        return BUILDS[backend](network, (1, *windows.shape[1:]), "fp32", CPU, tmp_path)(windows)

    first = start()
    (entry,) = tmp_path.iterdir()
    written = entry.read_bytes()
    assert torch.equal(start(), first)
    assert len(made) == 1
    for damaged in (b"", written[:-100], flipped(written, 500), b"\0" * len(written)):
        entry.write_bytes(damaged)
        before = len(made)
        assert torch.equal(start(), first)
        assert len(made) == before + 1
    assert entry.read_bytes() != damaged


@pytest.mark.parametrize("backend", MAKERS)
def test_an_entry_that_is_whole_but_of_no_use_is_made_again(backend, tmp_path):
    """Sealed rightly, but nothing that the backend takes: as after a change of its format within a version."""
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 2)
    shape = (1, *windows.shape[1:])
    first = BUILDS[backend](network, shape, "fp32", CPU, tmp_path)(windows)
    (entry,) = tmp_path.iterdir()
    write_entry(tmp_path, entry.stem, entry.suffix[1:], b"no network at all")
    assert torch.equal(BUILDS[backend](network, shape, "fp32", CPU, tmp_path)(windows), first)


@pytest.mark.parametrize("backend", MAKERS)
def test_other_weights_never_meet_this_networks_entry(backend, tmp_path):
    require(backend)
    network, windows = network_of("unet 2-D"), windows_for("unet 2-D", 2)
    shape = (1, *windows.shape[1:])
    first = BUILDS[backend](network, shape, "fp32", CPU, tmp_path)(windows)
    with torch.no_grad():
        next(network.parameters())[0] += 1
    assert not torch.equal(BUILDS[backend](network, shape, "fp32", CPU, tmp_path)(windows), first)
    assert len(list(tmp_path.iterdir())) == 2
