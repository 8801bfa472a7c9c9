"""One HTML page from values: no scripts, nothing fetched, readable from a folder without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from medseg.domain.errors import UsageError
from medseg.io.files import write_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --faint: #5d666f; --paper: #fdfdfc; --box: #f1f2f3; --line: #d5d8db; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e8; --faint: #9aa3ab; --paper: #16181a; --box: #212427; --line: #3a3f44; }
}
body { margin: 0; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 44rem; margin: .6rem 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .95rem; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--faint); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.figures { display: flex; flex-wrap: wrap; gap: 1.2rem; margin: 1rem 0; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
img { max-width: 100%; height: auto; display: block; border-radius: 4px; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .4rem; }
pre { background: var(--box); padding: .8rem 1rem; border-radius: 4px; overflow-x: auto; font-size: .9rem; }
"""


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
    """Column heads and rows of text, each row as long as the head; a column of numbers alone is set to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.head):
                raise UsageError(f"a table of {len(self.head)} columns has a row of {len(row)}: {row}")


@dataclass(frozen=True)
class Section:
    """A part of a page; what is empty is left out, and the order is as here."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    table: Table | None = None
    figures: tuple[Figure, ...] = ()
    code: str = ""


def page_html(title: str, sections: Sequence[Section]) -> str:
    """The page as text. All words given are escaped: they are text, never markup."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>",
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
    parts += [f"<p>{escape(text)}</p>" for text in section.paragraphs]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.figures:
        parts.append('<div class="figures">')
        parts += [_figure(figure) for figure in section.figures]
        parts.append("</div>")
    if section.code:
        parts.append(f"<pre><code>{escape(section.code)}</code></pre>")
    return "\n".join([*parts, "</section>"])


def _figure(figure: Figure) -> str:
    source, alternative = quote(figure.source), escape(figure.alternative or figure.caption)
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>" if figure.caption else ""
    return f'<figure><img src="{source}" alt="{alternative}">{caption}</figure>'


def _table(table: Table) -> str:
    numbers = [bool(table.rows) and all(_is_number(row[n]) for row in table.rows) for n in range(len(table.head))]
    kinds = [' class="number"' if number else "" for number in numbers]

    def line(cells: Sequence[str], tag: str) -> str:
        held = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(held)}</tr>"

    head, rows = line(table.head, "th"), "\n".join(line(row, "td") for row in table.rows)
    return f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody></table></div>'


def _is_number(text: str) -> bool:
    words = text.replace("−", "-").split()
    try:
        float(words[0].rstrip("%").replace(",", "") if words else "nan")
    except ValueError:
        return text in ("", "-", "–")
    return len(words) <= 2
