import pickle

import pytest
import torch

from medseg.domain.errors import BundleError, ResourceError
from medseg.engines.checkpoint import load_newest, save_checkpoint


def a_state(step):
    return {"step": step, "network": {"weight": torch.arange(100.0) * step}, "history": [{"step": step, "loss": 0.5}]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def two(tmp_path):
    for step in (4, 8):
        save_checkpoint(a_state(step), step, tmp_path)
    return tmp_path


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(a_state(4), 4, tmp_path)
    state = load_newest(tmp_path)
    assert state["step"] == 4
    assert torch.equal(state["network"]["weight"], a_state(4)["network"]["weight"])
    assert state["history"] == a_state(4)["history"]


def test_the_newest_is_the_one_of_the_greatest_step_whatever_order_they_came_in(tmp_path):
    for step in (100_000_000 - 1, 20, 3):
        save_checkpoint(a_state(step), step, tmp_path)
    assert load_newest(tmp_path)["step"] == 99_999_999


def test_nothing_is_loaded_from_an_empty_or_missing_folder(tmp_path):
    assert load_newest(tmp_path) is None
    assert load_newest(tmp_path / "missing") is None


def test_two_are_kept(tmp_path):
    for step in (4, 8, 12, 16):
        save_checkpoint(a_state(step), step, tmp_path)
    assert names(tmp_path) == [f"step-000000{n}.{end}" for n in ("12", "16") for end in ("pt", "sha256")]


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_checkpoint_is_skipped(two, part):
    path = two / "step-00000008.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    assert load_newest(two)["step"] == 4
    path.write_bytes(content)
    assert load_newest(two)["step"] == 8


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["step-00000008.pt", "step-00000008.sha256"])
def test_a_flipped_bit_is_found(two, place, name):
    content = bytearray((two / name).read_bytes())
    content[int((len(content) - 2) * place)] ^= 0x80  # in the digest this is no UTF-8 either
    (two / name).write_bytes(content)
    assert load_newest(two)["step"] == 4


def test_a_checkpoint_without_its_digest_does_not_count(two):
    (two / "step-00000008.sha256").unlink()
    assert load_newest(two)["step"] == 4


def test_nothing_but_damaged_checkpoints_is_refused_rather_than_started_over(two):
    for step in (4, 8):
        (two / f"step-0000000{step}.sha256").write_text("")
    with pytest.raises(BundleError, match="all 2 checkpoints are damaged"):
        load_newest(two)


def test_other_files_are_no_checkpoints(two):
    for name in ("step-9.pt", "step-00000009.pt.old", "step-abcdefgh.pt", ".0123456789ab.part.step-00000012.pt"):
        (two / name).write_bytes((two / "step-00000008.pt").read_bytes())
    assert load_newest(two)["step"] == 8


def test_only_tensors_and_plain_data_are_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    save_checkpoint(a_state(4) | {"network": Evil()}, 4, tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        load_newest(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("call", range(1, 5))
def test_a_full_disk_leaves_the_previous_checkpoint(two, call, monkeypatch):
    """A save syncs four times: file and folder, of the digest and of the state."""
    import os

    calls, real = [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        real(descriptor)

    before = names(two)
    monkeypatch.setattr(os, "fsync", failing)
    if call in (2, 4):  # after the rename the file is whole; that a folder cannot be synced is no failure
        save_checkpoint(a_state(12), 12, two)
        assert load_newest(two)["step"] == 12
        return
    with pytest.raises(ResourceError, match="the disk is full"):
        save_checkpoint(a_state(12), 12, two)
    assert load_newest(two)["step"] == 8
    assert set(names(two)) - set(before) <= {"step-00000012.sha256"}
    monkeypatch.undo()
    save_checkpoint(a_state(12), 12, two)
    assert load_newest(two)["step"] == 12


def test_what_a_kill_between_two_removals_left_is_removed_later(tmp_path):
    """The digest was removed after its checkpoint, so that a kill in between left it for good."""
    for step in (4, 8):
        save_checkpoint(a_state(step), step, tmp_path)
    removed = []
    with pytest.MonkeyPatch.context() as patch:
        import pathlib

        real = pathlib.Path.unlink

        def killed(path, missing_ok=False):
            if removed:
                raise KeyboardInterrupt
            if path.name.startswith("step"):
                removed.append(path.name)
            real(path, missing_ok)

        patch.setattr(pathlib.Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(a_state(12), 12, tmp_path)
    assert load_newest(tmp_path)["step"] == 12
    save_checkpoint(a_state(16), 16, tmp_path)
    assert names(tmp_path) == [f"step-000000{n}.{end}" for n in ("12", "16") for end in ("pt", "sha256")]
