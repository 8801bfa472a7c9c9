"""Pictures of the worst cases, kept while the cases go by: no image stays in memory but the few that are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from medseg.io.files import whole_file


class Gallery:
    """Keeps the pictures of the `count` cases that are worst; of equals the earlier ones."""

    def __init__(self, count: int = 5):
        self.count = count
        self._kept: list[tuple[float, str, Image.Image]] = []

    def offer(self, case: str, badness: float, draw: Callable[[], Image.Image]) -> None:
        """Draw the case if it is among the worst so far; badness rises as scores get worse."""
        if len(self._kept) == self.count and badness <= self._kept[-1][0]:
            return
        place = next((n for n, (other, *_) in enumerate(self._kept) if badness > other), len(self._kept))
        self._kept.insert(place, (badness, case, draw()))
        del self._kept[self.count :]

    @property
    def cases(self) -> tuple[str, ...]:
        """Whose pictures are kept, worst first."""
        return tuple(case for _, case, _ in self._kept)

    def write(self, folder: Path) -> dict[str, str]:
        """The pictures as PNG files of the folder, those of an earlier run gone; case -> file name, worst first.

        Raises: OutputError or ResourceError as `whole_file`.
        """
        for old in folder.glob("worst_*.png"):
            old.unlink(missing_ok=True)
        names = {}
        for place, (_, case, picture) in enumerate(self._kept, start=1):
            names[case] = f"worst_{place}.png"
            with whole_file(folder / names[case]) as temporary:
                picture.save(temporary, "PNG", optimize=True)
        return names
