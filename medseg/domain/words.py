"""Words in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number of things whose plural ends in s.

    >>> counted(1, "slice"), counted(0, "slice")
    ('1 slice', '0 slices')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
