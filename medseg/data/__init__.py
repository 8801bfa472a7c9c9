"""Images on their way to a network, through MONAI's transforms."""

from medseg.data.reader import Reader

__all__ = ["Reader"]
