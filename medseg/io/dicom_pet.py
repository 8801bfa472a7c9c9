"""From activity to SUV: the standardised uptake value by body weight of a PET series.

SUVbw = activity (Bq/ml) x weight (g) / (injected dose (Bq) x 2^(-(scan - injection) / half-life)), as in the
vendor-neutral recipe of the Quantitative Imaging Biomarkers Alliance for Units BQML and decay correction to the start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from medseg.domain.errors import ValueRangeError
from medseg.io.dicom_elements import code, item, number, text

PET_KEYWORDS = (
    *("Units", "DecayCorrection", "CorrectedImage", "PatientWeight", "RadiopharmaceuticalInformationSequence"),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "TimezoneOffsetFromUTC"),
)
_LEAST_DOSE_BQ = 1e5  # less is a dose written in MBq
_MOST_HALF_LIVES = 10
_DIGITS = {"weight_kg": "PatientWeight", "dose_bq": "RadionuclideTotalDose", "half_life_s": "RadionuclideHalfLife"}


@dataclass(frozen=True)
class Pet:
    """What a file says of its values and of the injection; times as DICOM writes them."""

    units: str
    decay_correction: str
    weight_kg: float | None
    dose_bq: float | None
    half_life_s: float | None
    injection: tuple[str, str]
    series: tuple[str, str]
    acquisition: tuple[str, str]
    zone: str


NO_PET = Pet("", "", None, None, None, ("", ""), ("", ""), ("", ""), "")


def read_pet(dataset: Any) -> Pet:
    """What is there; dates and times are joined where both are."""
    drug = item(dataset, "RadiopharmaceuticalInformationSequence")
    moment = text(drug, "RadiopharmaceuticalStartDateTime") if drug is not None else ""
    clock = text(drug, "RadiopharmaceuticalStartTime") if drug is not None else ""
    return Pet(
        units=code(dataset, "Units"),
        decay_correction=code(dataset, "DecayCorrection"),
        weight_kg=number(dataset, "PatientWeight"),
        dose_bq=number(drug, "RadionuclideTotalDose") if drug is not None else None,
        half_life_s=number(drug, "RadionuclideHalfLife") if drug is not None else None,
        injection=(moment[:8], moment[8:]) if moment else ("", clock),
        series=(text(dataset, "SeriesDate"), text(dataset, "SeriesTime")),
        acquisition=(text(dataset, "AcquisitionDate"), text(dataset, "AcquisitionTime")),
        zone=text(dataset, "TimezoneOffsetFromUTC"),
    )


def suv_factor(name: str, slices: Sequence[Pet]) -> tuple[float, str]:
    """What to multiply the values of a series by to get SUVbw (g/ml), and a note of how it came about.

    Units GML are SUV already. Raises: ValueRangeError naming what is missing, doubtful or different between slices.
    """
    first = slices[0]
    for word, value in (
        ("Units", "units"),
        ("DecayCorrection", "decay_correction"),
        *((w, v) for v, w in _DIGITS.items()),
    ):
        if len({getattr(pet, value) for pet in slices}) > 1:
            raise _refusal(name, f"{word} differs from slice to slice")
    if first.units == "GML":
        return 1.0, "PET values are SUV (GML) as stored"
    if first.units != "BQML":
        raise _refusal(name, f"Units are {first.units or 'missing'}, BQML or GML are read")
    if first.decay_correction not in ("START", "ADMIN"):
        raise _refusal(name, f"DecayCorrection is {first.decay_correction or 'missing'}, START or ADMIN is read")
    for value, word in _DIGITS.items():
        if not (getattr(first, value) or 0) > 0:  # NaN too
            raise _refusal(name, f"{word} is missing or not above 0")
    assert first.weight_kg is not None
    assert first.dose_bq is not None
    assert first.half_life_s is not None
    if first.dose_bq < _LEAST_DOSE_BQ:
        raise _refusal(name, f"RadionuclideTotalDose is {first.dose_bq:g} Bq, which may be meant in MBq")
    seconds, start = (0.0, "injection") if first.decay_correction == "ADMIN" else _seconds_to_scan(name, slices)
    if seconds > _MOST_HALF_LIVES * first.half_life_s:
        raise _refusal(name, f"the scan began {seconds / first.half_life_s:.3g} half-lives after the injection")
    factor = first.weight_kg * 1000 / (first.dose_bq * 2 ** (-seconds / first.half_life_s))
    return factor, f"PET activity (Bq/ml) was converted to SUVbw: times {factor:.6g} g/Bq, decay to the {start}"


def _seconds_to_scan(name: str, slices: Sequence[Pet]) -> tuple[float, str]:
    """From the injection to the moment the values are corrected to: the start of the series or of its acquisition."""
    acquired = [moment for pet in slices if (moment := _moment(*pet.acquisition)) is not None]
    series = _moment(*slices[0].series)
    if len(acquired) < len(slices):
        raise _refusal(name, "AcquisitionDate or AcquisitionTime is missing, so the start of the scan is unknown")
    if series is not None and series <= min(acquired):
        scan, start = series, "start of the series"
    else:
        scan, start = min(acquired), "first acquisition (the series is dated later, as what was processed again)"
    if len({pet.injection for pet in slices}) > 1:
        raise _refusal(name, "the time of injection differs from slice to slice")
    date, clock = slices[0].injection
    clock, zone = re.sub(r"[+-]\d{4}$", "", clock), (re.findall(r"[+-]\d{4}$", clock) or [""])[0]
    if zone and zone != slices[0].zone:
        raise _refusal(name, "the injection is given in another or an unstated time zone")
    injected = _moment(date or f"{scan:%Y%m%d}", clock)
    if injected is None:
        raise _refusal(
            name, "RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing or no times"
        )
    if injected > scan:
        what = "later than the scan" if date else "later in the day than the scan and its date is not given"
        raise _refusal(name, f"the injection is {what}: midnight lies between, or a clock is wrong")
    return (scan - injected) / timedelta(seconds=1), start


def _moment(date: str, clock: str) -> datetime | None:
    """YYYYMMDD and HHMMSS.FFFFFF; hours at least."""
    digits = re.fullmatch(r"(\d{8})(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?", date.replace(".", "") + clock.replace(":", ""))
    if digits is None:
        return None
    try:
        whole = datetime.strptime(digits[1] + digits[2] + (digits[3] or "00") + (digits[4] or "00"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return whole + timedelta(seconds=float(digits[5] or 0))


def _refusal(name: str, reason: str) -> ValueRangeError:
    return ValueRangeError(
        f"{name}: PET values cannot be made SUV: {reason}; export the series again, or give a NIfTI file in SUV"
    )
