import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.domain.errors import UsageError
from medseg.reports.pages import Figure, Section, Table, Tile, page_html, write_page
from medseg.reports.svg import Drawing
from tests.html import Reader

NASTY = "<script>alert('a')</script> & \"quoted\" > 3 µm &amp; Größe"


def a_page(text=NASTY):
    table = Table(("name", "Dice", text), (("liver", "0.95", text), ("tumour", "−0.5 %", "")))
    figures = (Figure("images/a b#1.png", text), Figure("curve.png", "", alternative=text))
    section = Section(text, (text, "second"), table, figures, text, text, (Tile(text, text, text),))
    return page_html(text, [section, Section("empty")])


def test_all_words_come_through_as_text():
    page = Reader(a_page())
    for tag, count in {
        "title": 1,
        "h1": 1,
        "h2": 1,
        "p": 2,
        "th": 1,
        "td": 1,
        "figcaption": 1,
        "code": 1,
        "span": 1,
        "strong": 1,
    }.items():
        assert page.all(tag).count(NASTY) == count
    assert [held["alt"] for held in page.attributes("img")] == [NASTY, NASTY]


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_no_text_can_change_the_page(text):
    page = Reader(page_html(text, [Section("s", (text,), figures=(Figure("a.png", text),))]))
    assert page.all("p") == page.all("figcaption") == page.all("title") == [text]
    assert [name for name, _ in page.tags] == [name for name, _ in Reader(page_html("t", [
        Section("s", ("p",), figures=(Figure("a.png", "c"),))])).tags]  # fmt: skip


def test_nothing_is_fetched_and_nothing_runs():
    text = a_page("plain")
    page = Reader(text)
    assert {name for name, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert not [key for _, held in page.tags for key in held if key.startswith("on")]
    assert not re.search(r"https?:|//|@import|url\(", text)
    assert [held["src"] for held in page.attributes("img")] == ["images/a%20b%231.png", "curve.png"]


def test_it_reads_on_a_telephone_in_the_dark():
    page = a_page()
    assert "prefers-color-scheme: dark" in page
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in Reader(page).attributes("meta")


@pytest.mark.parametrize(
    "source", ["/etc/a.png", "../a.png", "a/../../b.png", "https://x.org/a.png", "data:image/png,x", "", "a\\b.png"]
)
def test_pictures_outside_the_folder_are_refused(source):
    with pytest.raises(UsageError, match="below the page"):
        Figure(source, "caption")


def test_columns_of_numbers_stand_to_the_right():
    page = Reader(a_page())
    assert [held.get("class") for held in page.attributes("td")] == [None, "number", None] * 2
    ranges = Table(("n", "±", "name"), (("1,204", "0.95 mm", "3 of 4"), ("-", "inf", "x")))
    page = Reader(page_html("t", [Section("s", table=ranges)]))
    assert [held.get("class") for held in page.attributes("th")] == ["number", "number", None]


def test_further_lines_of_a_cell_are_small_and_do_not_make_it_text():
    page = Reader(page_html("t", [Section("s", table=Table(("", ""), (("a", "0.5\n0.4–0.6"), ("b", "–\n3 odd"))))]))
    assert page.all("small") == ["0.4–0.6", "3 odd"]
    assert [held.get("class") for held in page.attributes("td")] == [None, "number"] * 2
    assert page.all("th") == []


def test_drawings_stand_before_pictures_with_their_captions():
    section = Section("s", figures=(Figure("a.png", "b"),), drawings=(Drawing('<svg role="img"></svg>', NASTY),))
    page = Reader(page_html("t", [section]))
    assert [name for name, _ in page.tags if name in ("svg", "img")] == ["svg", "img"]
    assert page.all("figcaption") == [NASTY, "b"]


def test_uneven_tables_are_refused():
    with pytest.raises(UsageError, match="2 columns has a row of 1"):
        Table(("a", "b"), (("1",),))


def test_empty_parts_leave_nothing_behind():
    page = Reader(page_html("t", [Section("only a heading")]))
    assert {name for name, _ in page.tags}.isdisjoint({"p", "table", "figure", "pre", "div", "ul", "svg"})


def test_the_file_is_utf8(tmp_path):
    write_page(tmp_path / "out" / "index.html", "Größe μm", [Section("s")])
    assert "<h1>Größe μm</h1>" in (tmp_path / "out" / "index.html").read_bytes().decode("utf-8")
