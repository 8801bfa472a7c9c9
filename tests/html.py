"""Reading a page back: its tags, their attributes and the text of each element."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Tags with their attributes and the text of each element, and a check that every tag is closed in turn."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append((tag, []))

    def handle_endtag(self, tag):
        name, parts = self._open.pop()
        assert name == tag
        self.texts.append((tag, "".join(parts)))

    def handle_data(self, data):
        if self._open:
            self._open[-1][1].append(data)

    def all(self, tag):
        return [text for name, text in self.texts if name == tag]

    def attributes(self, tag):
        return [held for name, held in self.tags if name == tag]
