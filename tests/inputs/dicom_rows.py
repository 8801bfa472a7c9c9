"""Rows 1 to 36 and 63 to 84 of the table of inputs: DICOM."""

from tests.inputs.dicom_file_rows import FILE_ROWS
from tests.inputs.dicom_group_rows import GROUP_ROWS
from tests.inputs.dicom_place_rows import PLACE_ROWS
from tests.inputs.dicom_value_rows import VALUE_ROWS

ROWS = [*PLACE_ROWS, *FILE_ROWS, *VALUE_ROWS, *GROUP_ROWS]
