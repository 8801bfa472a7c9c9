"""Segment medical images: train, pack, run and evaluate segmentation models on NIfTI, DICOM and pictures."""

__version__ = "0.1.0"
