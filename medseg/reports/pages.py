"""One HTML page from values: no scripts, nothing fetched, readable from a folder without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from medseg.domain.errors import UsageError
from medseg.io.files import write_text
from medseg.reports.style import STYLE
from medseg.reports.svg import Drawing


@dataclass(frozen=True)
class Figure:
    """An image beside or below the page, its caption, and what it shows for those who cannot see it.

    source: relative, with forward slashes, so that the folder can be moved or sent as a whole.
    Raises: UsageError for an absolute path, an address, or one that leaves the page's folder.
    """

    source: str
    caption: str
    alternative: str = ""

    def __post_init__(self) -> None:
        path = PurePosixPath(self.source)
        if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\\" in self.source:
            raise UsageError(f"figure {self.source!r}: give a path below the page's own folder")


@dataclass(frozen=True)
class Table:
    """Column heads and rows of text, each row as long as the head; a column of numbers alone is set to the right.

    Further lines of a cell are small print. Where all heads are empty there is no line of heads.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise UsageError(f"a table of {len(self.head)} columns has a row of {len(row)}: {row}")


@dataclass(frozen=True)
class Tile:
    """One number that is seen first: what it is, the number, small print."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page; what is empty is left out, and the order is as `_section` has it.

    notice: what must not be overlooked.
    """

    heading: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    figures: tuple[Figure, ...] = ()
    code: str = ""
    notice: str = ""
    tiles: tuple[Tile, ...] = ()
    drawings: tuple[Drawing, ...] = ()


def page_html(title: str, sections: Sequence[Section]) -> str:
    """The page as text. All words given are escaped: they are text, never markup."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>",
        *(_section(section) for section in sections),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """The page as a UTF-8 file, whole or not at all; the pictures are already there or written by the caller.

    Raises: OutputError or ResourceError as `whole_file`.
    """
    write_text(path, page_html(title, sections))


def _section(section: Section) -> str:
    parts = [f"<section>\n<h2>{escape(section.heading)}</h2>"]
    if section.notice:
        parts.append(f'<p class="notice">{escape(section.notice)}</p>')
    parts += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    if section.tiles:
        parts.append(f'<ul class="tiles">{"".join(map(_tile, section.tiles))}</ul>')
    if section.table is not None:
        parts.append(_table(section.table))
    shown = [*map(_drawing, section.drawings), *map(_figure, section.figures)]
    if shown:
        parts += ['<div class="figures">', *shown, "</div>"]
    if section.code:
        parts.append(f"<pre><code>{escape(section.code)}</code></pre>")
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure) -> str:
    source, alternative = quote(figure.source), escape(figure.alternative or figure.caption)
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    return f'<figure><img src="{source}" alt="{alternative}">{caption}</figure>'


def _drawing(drawing: Drawing) -> str:
    caption = f"<figcaption>{escape(drawing.caption)}</figcaption>" if drawing.caption else ""
    return f"<figure>{drawing.svg}{caption}</figure>"


def _tile(tile: Tile) -> str:
    detail = "".join(f"<small>{escape(line)}</small>" for line in tile.detail.splitlines())
    return f"<li><span>{escape(tile.name)}</span><strong>{escape(tile.value)}</strong>{detail}</li>"


def _table(table: Table) -> str:
    numbers = [bool(table.rows) and all(_is_number(row[n]) for row in table.rows) for n in range(len(table.head))]
    kinds = [' class="number"' if number else "" for number in numbers]

    def line(cells: Sequence[str], tag: str) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        held = (f"<{tag}{scope}{kind}>{_cell(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(held)}</tr>"

    head = f"<thead>{line(table.head, 'th')}</thead>\n" if any(table.head) else ""
    rows = "\n".join(line(row, "td") for row in table.rows)
    return f'<div class="wide"><table>\n{head}<tbody>\n{rows}\n</tbody></table></div>'


def _cell(text: str) -> str:
    first, *more = text.split("\n")
    return escape(first) + "".join(f"<br><small>{escape(line)}</small>" for line in more)


def _is_number(text: str) -> bool:
    text = text.partition("\n")[0]
    words = text.replace("−", "-").split()
    try:
        float(words[0].rstrip("%").replace(",", "") if words else "nan")
    except ValueError:
        return text in ("", "-", "–")
    return len(words) <= 2
