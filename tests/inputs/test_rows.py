"""Each input of the table has its outcome, and the documentation says so."""

import pytest

from tests.inputs.document import DOCUMENT, HEAD, line, rows
from tests.inputs.running import bundles, run_row

ROWS = rows()


@pytest.fixture(scope="session")
def row_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    bundles(home)
    return home


@pytest.fixture(scope="module")
def documented():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    return text.removeprefix(HEAD).splitlines(keepends=True)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_input_has_its_outcome_and_it_is_documented(row_home, tmp_path, documented, row):
    told = run_row(row, row_home, tmp_path)
    assert line(row, told) == documented[ROWS.index(row)], "run `make docs-inputs`"


def test_nothing_else_is_documented(documented):
    assert len(documented) == len(ROWS)
