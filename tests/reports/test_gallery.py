from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medseg.metrics.ranking import badness, worst_cases
from medseg.metrics.table import Row, ScoreTable
from medseg.reports.gallery import Gallery


@settings(max_examples=40)
@given(st.lists(st.one_of(st.sampled_from([0.0, 0.5, float("nan")]), st.floats(0, 1)), max_size=14))
def test_the_pictures_are_those_of_the_worst_cases(values):
    gallery, asked = Gallery(), []
    for n, value in enumerate(values):
        gallery.offer(f"c{n}", badness("Dice", value), lambda n=n: asked.append(n) or Image.new("RGB", (2, 2)))
    table = ScoreTable(tuple(Row(f"c{n}", "", "x", {"Dice": value}) for n, value in enumerate(values)))
    assert gallery.cases == worst_cases(table, "Dice")
    assert len(asked) == len(set(asked))


def test_pictures_of_an_earlier_run_are_gone(tmp_path):
    (tmp_path / "worst_9.png").touch()
    (tmp_path / "mine.png").touch()
    gallery = Gallery()
    gallery.offer("b", 0.1, lambda: Image.new("RGB", (2, 2)))
    gallery.offer("a", 0.9, lambda: Image.new("RGB", (3, 3)))
    assert gallery.write(tmp_path) == {"a": "worst_1.png", "b": "worst_2.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"worst_1.png", "worst_2.png", "mine.png"}
    with Image.open(tmp_path / "worst_1.png") as picture:
        assert picture.size == (3, 3)
