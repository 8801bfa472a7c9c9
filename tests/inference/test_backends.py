"""Whole cases through other backends: the labels of eager, whatever is wished for beside."""

from dataclasses import replace

import numpy as np
import pytest

from medseg.backends.backend import Asked
from medseg.bundle.bundle import Bundle
from medseg.bundle.store import find_any
from medseg.domain.errors import UsageError
from medseg.domain.labels import Label, LabelTable
from medseg.domain.wishes import NO_WISHES, Wishes
from medseg.inference.model import load_model
from medseg.inference.segment import segment
from tests.backends.test_same_answer import require
from tests.bundle.zoo import write_form
from tests.bundles import CPU, blob_volume, stored_bundle, volume_bundle


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))


def labels_and_report(stored: Bundle, wishes: Wishes, name: str):
    done = segment(blob_volume(np.eye(4)), load_model(stored, CPU, "fp32", wishes, Asked(name)))
    return done.label_map.voxels, done.report


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "wishes",
    [NO_WISHES, Wishes(depth=1), Wishes(tta=True), Wishes(quality=True)],
    ids=["plain", "depth", "mirrored", "voters"],
)
def test_labels_are_those_of_eager(backend, wishes, tmp_path):
    require(backend)
    bundle = replace(volume_bundle(preset="unetpp"), flip_axes=(0,))
    bundle = replace(bundle, network=replace(bundle.network, widths=(4, 8, 8)))
    stored = stored_bundle(bundle, tmp_path / "b")
    expected, plain = labels_and_report(stored, wishes, "eager")
    found, report = labels_and_report(stored, wishes, backend)
    assert (found != expected).mean() <= 1e-6
    assert report.backend is not None
    assert (report.backend.name, report.backend.precision) == (backend, "fp32")
    assert report.backend.agreement[backend] == 1.0
    assert plain.backend is not None
    assert plain.backend.name == "eager"
    if wishes.quality:
        assert report.quality is not None
        assert plain.quality is not None
        assert report.quality.agreement == pytest.approx(plain.quality.agreement, abs=1e-4)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_members_of_an_ensemble(backend, tmp_path):
    require(backend)
    bundle = volume_bundle()
    bundle = replace(bundle, network=replace(bundle.network, options={"members": 2}))
    stored = ensemble(bundle, tmp_path / "b")
    expected, _ = labels_and_report(stored, Wishes(quality=True), "eager")
    found, _ = labels_and_report(stored, Wishes(quality=True), backend)
    assert (found != expected).mean() <= 1e-6


def ensemble(bundle, folder) -> Bundle:
    from medseg.bundle.card import new_card
    from medseg.bundle.pack import pack
    from medseg.networks.ensemble import join_weights
    from tests.bundles import random_weights

    single = replace(bundle, network=replace(bundle.network, options=None))
    weights = join_weights([random_weights(single, seed) for seed in (0, 1)])
    return pack(bundle, weights, folder, new_card(bundle, 0, "Not at all."))


def test_batches_do_not_change_labels(tmp_path):
    require("openvino")
    found = []
    for batch in (1, 3, 8):
        bundle = volume_bundle()
        bundle = replace(bundle, window=replace(bundle.window, batch=batch))
        found.append(labels_and_report(stored_bundle(bundle, tmp_path / f"b{batch}"), NO_WISHES, "openvino")[0])
    assert all((one == found[0]).all() for one in found)


@pytest.mark.parametrize(
    "wishes", [NO_WISHES, Wishes(tta=True), Wishes(quality=True)], ids=["plain", "mirrored", "voters"]
)
def test_many_classes_whose_features_are_blended(wishes, tmp_path):
    """Only the body runs elsewhere; its features are judged by the labels that the head makes of them."""
    require("openvino")
    many = LabelTable(tuple(Label(n, f"organ {n}", (n, n, n)) for n in range(1, 35)))
    stored = stored_bundle(replace(volume_bundle(labels=many), flip_axes=(0,)), tmp_path / "b")
    assert load_model(stored, CPU, "fp32").body is not None
    expected, _ = labels_and_report(stored, wishes, "eager")
    found, report = labels_and_report(stored, wishes, "openvino")
    assert (found != expected).mean() <= 1e-6
    assert len(np.unique(found)) > 2
    assert report.backend is not None
    assert report.backend.name == "openvino"
    assert report.backend.agreement["openvino"] > 0.9999


def test_few_windows_of_auto_are_eagers(tmp_path):
    stored = stored_bundle(volume_bundle(), tmp_path / "b")
    found, report = labels_and_report(stored, NO_WISHES, "auto")
    assert report.backend is not None
    assert report.backend.name == "eager"
    assert report.backend.windows == report.windows
    assert (found == labels_and_report(stored, NO_WISHES, "eager")[0]).all()


def test_other_peoples_bundles_run_eager(tmp_path):
    stored = find_any(str(write_form(tmp_path, "spleen_ct")))
    with pytest.raises(UsageError, match="--backend openvino is for bundles of medseg"):
        load_model(stored, CPU, "fp32", NO_WISHES, Asked("openvino"))
