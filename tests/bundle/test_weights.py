"""Weights are loaded if every byte is the one that was packed, and then only as tensors of the network's shapes."""

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from medseg.bundle.pack import pack
from medseg.bundle.reader import read_bundle
from medseg.bundle.weights import load_network, weights_bytes
from medseg.domain.errors import BundleError
from tests.bundles import BUNDLES, grey_bundle, random_weights, stored_bundle, volume_bundle


def put(folder, content):
    """Other weights, and their digest made right."""
    (folder / "models" / "model.pt").write_bytes(content)
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["medseg"]["weights_sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(metadata))


def refusal(folder):
    with pytest.raises(BundleError) as refused:
        load_network(read_bundle(folder))
    assert refused.value.exit_code == 5
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def folder(tmp_path):
    return stored_bundle(grey_bundle(), tmp_path / "b").folder


@pytest.mark.parametrize("kind", BUNDLES)
def test_the_weights_come_back(kind, tmp_path):
    bundle = BUNDLES[kind]()
    network = load_network(stored_bundle(bundle, tmp_path / "b", seed=5))
    wanted = random_weights(bundle, seed=5)
    state = network.state_dict()
    assert list(state) == list(wanted)
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)
    assert not network.training
    assert not any(value.is_meta for value in [*network.parameters(), *network.buffers()])


def test_a_flipped_bit_is_found(folder):
    path = folder / "models" / "model.pt"
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 997):
        content[place] ^= 1
        path.write_bytes(content)
        assert "sha256" in refusal(folder)
        content[place] ^= 1
    path.write_bytes(content)
    load_network(read_bundle(folder))


def test_cut_or_missing_weights_are_refused(folder):
    path = folder / "models" / "model.pt"
    path.write_bytes(path.read_bytes()[:-1])
    assert "sha256" in refusal(folder)
    path.unlink()
    assert "cannot be read" in refusal(folder)
    path.mkdir()
    assert "cannot be read" in refusal(folder)


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def legacy(value):
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("form", [saved, legacy, pickle.dumps], ids=lambda form: form.__name__)
def test_a_pickle_that_would_run_is_not_run(folder, tmp_path, form):
    marker = tmp_path / "marker"
    state = dict(random_weights(grey_bundle())) | {"more": Touch(marker)}
    put(folder, form(state))
    refusal(folder)
    assert not marker.exists()
    if form is pickle.dumps:
        pickle.loads(form(state))  # it does fire, so this test can fail
    else:
        torch.load(io.BytesIO(form(state)), weights_only=False)
    assert marker.exists()


def test_the_digest_comes_before_the_pickle(folder, tmp_path):
    (folder / "models" / "model.pt").write_bytes(saved(Touch(tmp_path / "marker")))
    assert "sha256" in refusal(folder)
    assert not (tmp_path / "marker").exists()


def changed(**values):
    return {**random_weights(grey_bundle()), **values}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\x80\x02.",
        saved({}),
        saved([]),
        saved(torch.zeros(3)),
        saved("text"),
        saved(changed(**{"head.bias": torch.zeros(4)})),
        saved(changed(**{"head.bias": torch.zeros(3, 1)})),
        saved(changed(**{"head.bias": "text"})),
        saved(changed(another=torch.zeros(3))),
        saved({name: value for name, value in changed().items() if name != "head.bias"}),
        saved(changed())[:-200],
        saved(random_weights(BUNDLES["volume"]())),
    ],
    ids=range(14),
)
def test_what_does_not_fit_the_network_is_refused(folder, content):
    """The message of an empty file's EOFError has no first line."""
    put(folder, content)
    refusal(folder)


def test_half_precision_weights_are_computed_with_in_float32(folder):
    put(folder, weights_bytes({name: value.half() for name, value in random_weights(grey_bundle()).items()}))
    network = load_network(read_bundle(folder))
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_a_torn_archive_is_refused(folder):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    put(folder, buffer.getvalue())
    refusal(folder)


def test_large_weights_are_halved_and_small_ones_kept(tmp_path, monkeypatch):
    bundle = volume_bundle()
    weights = random_weights(bundle)
    exact = load_network(pack(bundle, weights, tmp_path / "exact", "card"))
    assert all(torch.equal(exact.state_dict()[name], value) for name, value in weights.items())
    monkeypatch.setattr("medseg.bundle.weights._LARGE_BYTES", 100)
    halved = load_network(pack(bundle, weights, tmp_path / "half", "card"))
    sizes = [(tmp_path / name / "models" / "model.pt").stat().st_size for name in ("exact", "half")]
    assert sizes[1] < 0.7 * sizes[0]
    for name, value in halved.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-6)
    huge = {name: value * 1e9 for name, value in weights.items()}
    assert {value.dtype for value in torch.load(io.BytesIO(weights_bytes(huge)), weights_only=True).values()} == {
        torch.float32
    }
