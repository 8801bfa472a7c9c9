"""What is measured separates the slices of a series; what may differ from slice to slice does not."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.io.dicom_quantities import separated


def images(**values):
    """One header an image; None leaves an element out."""
    count = len(next(iter(values.values())))
    rows = [{word: of_each[n] for word, of_each in values.items()} for n in range(count)]
    return [
        SimpleNamespace(
            tags={w: tuple(v) if isinstance(v, (list, tuple)) else (v,) for w, v in row.items() if v is not None}
        )
        for row in rows
    ]


def words(headers):
    return [word for word, _ in separated(headers)[0]]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"EchoTime": ["20", "80"] * 4}, ["EchoTime 20", "EchoTime 80"]),
        ({"EchoTime": ["20", "20.00001"] * 4}, [""]),  # rounding
        ({"DiffusionBValue": [None, "800"] * 4}, ["DiffusionBValue 800", "without DiffusionBValue"]),
        ({"SliceThickness": [None, "2"] * 4}, [""]),  # what anonymisers remove belongs to any
        ({"SliceThickness": ["10", "2"] * 4}, ["SliceThickness 2", "SliceThickness 10"]),
        ({"SliceThickness": ["2.0", "2"] * 4}, [""]),
        ({"ConvolutionKernel": ["B30f", "B70f"] * 4}, ["ConvolutionKernel 1 of 2", "ConvolutionKernel 2 of 2"]),
        ({"ImageType": [["ORIGINAL", "M"], ["ORIGINAL", "P"]] * 4}, ["ImageType 1 of 2", "ImageType 2 of 2"]),
        ({"RepetitionTime": ["612", "645", "633", "660"] * 2}, [""]),  # gated by the heart
        ({"RepetitionTime": ["500", "2000"] * 4}, ["RepetitionTime 500", "RepetitionTime 2000"]),
        ({"InversionTime": ["100", "145", "190", "235", "280", "325", "370", "415"]}, [""]),  # another in each slice
        ({"InversionTime": ["100", "400"] * 4}, ["InversionTime 100", "InversionTime 400"]),
        ({"InversionTime": ["280"] * 3 + ["290"] * 6 + ["300"] * 3}, [""]),  # late enhancement
        ({"RepetitionTime": ["800", "1600", "800", "800"] * 2}, [""]),  # a heartbeat was skipped
        ({"NominalPercentageOfCardiacPhase": ["74", "75", "76"] * 3}, [""]),
        ({"FlipAngle": ["18", "20", "22"] * 3}, [""]),  # slabs of an angiogram
        ({"DiffusionBValue": ["0", "0.5"] * 4}, [""]),
        ({"EchoTime": [None, "20"] * 4}, [""]),
        ({"ScanningSequence": [["SE", "IR"], ["IR", "SE"]] * 4}, [""]),
        ({"SequenceName": ["*tfi2d1_12", "*tfi2d1_13"] * 4}, [""]),
        ({"ImageType": [["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "axial", ""]] * 4}, [""]),
        ({"DiffusionGradientOrientation": [["0.5", "0.5", "0.707"], ["0.5", "0.498", "0.708"]] * 4}, [""]),
        ({"VelocityEncodingMaximumValue": ["50", "150"] * 4}, [f"VelocityEncodingMaximumValue {v}" for v in (50, 150)]),
        ({"AcquisitionNumber": ["1", "2"] * 4, "AcquisitionTime": ["1000", "1001"] * 4}, [""]),  # in turns
        ({"DiffusionGradientOrientation": [["1.0", "0", "0"], ["1.0000001", "0.0", "-0"]] * 2}, [""]),
        (
            {"EchoTime": ["20", "80"] * 4, "EchoNumbers": ["1", "2"] * 4, "ImageType": [["M"], ["P"]] * 4},
            ["EchoTime 20", "EchoTime 80"],  # one element says it
        ),
        (
            {"EchoTime": ["20", "80", "20", "80"], "FlipAngle": ["5", "5", "30", "30"]},
            [
                "EchoTime 20, FlipAngle 5",
                "EchoTime 20, FlipAngle 30",
                "EchoTime 80, FlipAngle 5",
                "EchoTime 80, FlipAngle 30",
            ],
        ),
    ],
)
def test_parts_and_their_words(values, parts):
    assert words(images(**values)) == parts


def test_what_differs_from_slice_to_slice_is_noted():
    _, notes = separated(images(TemporalPositionIdentifier=["1", "2", "3", "4", "5"]))
    assert notes == ("TemporalPositionIdentifier differs from slice to slice (5 values in 5 images)",)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "4"])), min_size=1, max_size=12))
def test_every_image_is_in_exactly_one_part_and_parts_agree_in_all_quantities(rows):
    headers = images(ConvolutionKernel=[kernel for kernel, _ in rows], EchoTime=[echo for _, echo in rows])
    parts = [part for _, part in separated(headers)[0]]
    assert sorted(id(header) for part in parts for header in part) == sorted(map(id, headers))
    for part in parts:
        assert len({tuple(sorted(header.tags.items())) for header in part}) == 1
    assert len(parts) == len(set(rows))
