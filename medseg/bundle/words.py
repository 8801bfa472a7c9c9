"""A stranger's text in a message of ours."""

from __future__ import annotations


def short(text: str, most: int = 80) -> str:
    """One line of printable characters, not too long."""
    text = "".join(c if c.isprintable() else " " for c in " ".join(text[: 4 * most].split()))
    return text if len(text) <= most else text[: most - 3] + "..."
