"""The page of `medseg view` in a browser: NiiVue holds the image and the mask where they are, and asks nobody else."""

import threading

import numpy as np
import pytest

from medseg.cli.serving import loopback_server
from medseg.domain.geometry import Geometry
from medseg.domain.labels import Label, LabelMap, LabelTable
from medseg.domain.volume import Volume
from medseg.inference.measure import measure
from medseg.reports.viewer import Scene, exported_page, policy, served_files
from tests.masks import ORGANS, mask_on

pytestmark = pytest.mark.viewers


@pytest.fixture(params=["served", "exported"])
def shown(request, browse, tmp_path, pictures):
    """A function that shows a scene in one of the two ways, and gives what the page holds."""

    def show(scene, **options):
        options = {"screenshot": str(pictures / f"view_{scene.title}_{request.param}.png"), "width": 1200, **options}
        if request.param == "exported":
            (tmp_path / "page.html").write_text(exported_page(scene))
            home = (tmp_path / "page.html").as_uri()
            answer = browse("niivue.mjs", url=home, **options)
        else:
            server, home = loopback_server(served_files(scene), policy("'self'", "'self'", "'self'"))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            answer = browse("niivue.mjs", url=home, **options)
            server.shutdown()
            server.server_close()
        strangers = [r for r in answer["requests"] if not r.startswith((home, "data:", "blob:"))]
        assert [r for r in strangers if not r.endswith("/favicon.ico")] == []
        assert [c for c in answer["complaints"] if "404" not in c] == []
        assert answer["result"]["ready"] == "yes", answer["result"]["message"]
        return answer["result"]

    return show


def test_the_image_and_the_mask_lie_where_they_are_and_the_labels_have_their_names(shown, scan):
    mask = mask_on(scan.geometry)
    page = shown(Scene("ball", scan, mask, measure(mask, scan)), hide=2)
    assert page["title"] == "ball - medseg"
    image, labels = page["volumes"]
    for volume in (image, labels):
        assert volume["dims"] == list(scan.geometry.shape_ijk)
        assert np.abs(np.array(volume["affine"]) - scan.geometry.affine_ras).max() < 1e-4
    assert labels["values"] == [0, 1, 2, 3]
    assert labels["count"] == np.count_nonzero(mask.voxels)
    assert labels["labels"] == ["background", *ORGANS.names]
    colours = np.array(labels["lut"]).reshape(-1, 4)
    assert (colours[1:4, :3] == [label.colour for label in ORGANS]).all()
    assert colours[0, 3] == 0
    assert [row["name"] for row in page["rows"]] == list(ORGANS.names)
    assert [row["amount"] for row in page["rows"]] == [f"{m.volume_ml:.2f} ml" for m in measure(mask, scan)]
    assert page["crosshair"] == pytest.approx(measure(mask, scan)[0].centroid_ras_mm, abs=3.1)  # within a voxel
    assert page["hidden"] == 0


def test_a_colour_picture_and_its_numbered_cells(shown):
    i, j = np.indices((60, 40))
    picture = np.stack([4 * i, 6 * j, 255 - 4 * i]).astype(np.uint8)
    cells = np.zeros((60, 40), np.uint16)
    for n in range(14):
        cells[4 * n : 4 * n + 3, 10:20] = n + 1
    geometry = Geometry((60, 40), np.diag([-1.0, -1.0, 1.0, 1.0]), calibrated=False)
    volume = Volume(picture, geometry, "cells")
    label_map = LabelMap(cells, geometry, LabelTable((Label(1, "cell", (1, 2, 3)),), "instances"))
    page = shown(Scene("cells", volume, label_map, measure(label_map, volume)))
    assert page["volumes"][1]["dims"] == [60, 40, 1]
    assert page["volumes"][1]["count"] == np.count_nonzero(cells)
    assert page["volumes"][1]["values"] == list(range(13))  # twelve colours in turn
    assert page["rows"] == [{"name": "cell", "amount": "14 found", "colour": "rgb(255,170,0)"}]
