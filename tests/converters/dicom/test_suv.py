"""SUVbw by the vendor-neutral rules: every factor here was worked out by hand, every refusal names its attribute."""

from __future__ import annotations

import math

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medshard.converters.dicom.suv import suv_scaling

WEIGHT_KG, DOSE_BQ, HALF_LIFE_S = 70.0, 350e6, 6586.2
UNDECAYED = WEIGHT_KG * 1000 / DOSE_BQ  # 0.0002
TRACER = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)


def pet(**changes) -> Dataset:
    """A Siemens-like header: injection at 10:00, scan from 11:00. A change to None takes the attribute away."""
    stated = {
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"],
        "DecayCorrection": "START",
        "PatientWeight": WEIGHT_KG,
        "SeriesDate": "20200102",
        "SeriesTime": "110000",
        "AcquisitionDate": "20200102",
        "AcquisitionTime": "110000.000000",
        "RadionuclideTotalDose": DOSE_BQ,
        "RadionuclideHalfLife": HALF_LIFE_S,
        "RadiopharmaceuticalStartTime": "100000",
        **changes,
    }
    dataset, tracer = Dataset(), Dataset()
    for name, value in stated.items():
        if value is not None:
            setattr(tracer if name in TRACER else dataset, name, value)
    dataset.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    return dataset


def philips(element: int, value: str, **changes) -> Dataset:
    dataset = pet(Units="CNTS", **changes)
    dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(element, "DS", value)
    return dataset


def ge(scan: str, **changes) -> Dataset:
    dataset = pet(SeriesTime="150000", **changes)
    dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", scan)
    return dataset


def decayed(seconds: float, half_life: float = HALF_LIFE_S) -> float:
    return UNDECAYED * 2 ** (seconds / half_life)


ONE_HOUR = 2.9214e-4  # 0.0002 * 2 ** (3600 / 6586.2)


def test_the_reference_of_these_tests_is_a_number_worked_out_by_hand():
    assert decayed(3600) == pytest.approx(ONE_HOUR, rel=1e-4)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param([pet()], ONE_HOUR, id="one hour from injection to scan"),
        pytest.param([pet(DecayCorrection="ADMIN")], UNDECAYED, id="corrected to the injection"),
        pytest.param(
            [pet(DecayCorrection="ADMIN", RadiopharmaceuticalStartTime=None)], UNDECAYED, id="admin, no start"
        ),
        pytest.param([pet(PatientWeight="35")], ONE_HOUR / 2, id="half the weight"),
        pytest.param([pet(RadionuclideTotalDose="700000000")], ONE_HOUR / 2, id="twice the dose"),
        pytest.param(
            [pet(AcquisitionTime="110500"), pet(AcquisitionTime="110000"), pet(AcquisitionTime="111000")],
            ONE_HOUR,
            id="three bed positions, one scan",
        ),
        pytest.param([pet(AcquisitionTime="113000")], ONE_HOUR, id="a late bed alone counts from the series"),
        pytest.param(
            [pet(SeriesTime="150000", AcquisitionTime="111000"), pet(SeriesTime="150000", AcquisitionTime="110000")],
            ONE_HOUR,
            id="series made later: the earliest acquisition",
        ),
        pytest.param([pet(SeriesTime=None)], ONE_HOUR, id="no series time: the acquisition"),
        pytest.param([ge("20200102110000.00", AcquisitionTime="112000")], ONE_HOUR, id="GE's private scan time"),
        pytest.param(
            [pet(SeriesTime="003000", AcquisitionTime="003000", RadiopharmaceuticalStartTime="233000")],
            ONE_HOUR,
            id="across midnight, times without dates",
        ),
        pytest.param(
            [
                pet(
                    SeriesTime="003000",
                    AcquisitionTime="003000",
                    RadiopharmaceuticalStartDateTime="20200101233000.000000",
                )
            ],
            ONE_HOUR,
            id="across midnight, with the date",
        ),
        pytest.param(
            [pet(RadiopharmaceuticalStartDateTime="20200102100000", RadiopharmaceuticalStartTime="080000")],
            ONE_HOUR,
            id="a date-time outweighs a time",
        ),
        pytest.param(
            [pet(RadiopharmaceuticalStartDateTime="20200102090000+0000", TimezoneOffsetFromUTC="+0100")],
            ONE_HOUR,
            id="a date-time of another time zone",
        ),
        pytest.param(
            [pet(RadionuclideHalfLife=282276.0, RadiopharmaceuticalStartDateTime="20191230110000")],
            decayed(3 * 86400, 282276.0),
            id="a nuclide of days, three days later",
        ),
        pytest.param([pet(SeriesTime="095955", AcquisitionTime="095955")], decayed(-5), id="dynamic, 5 s before"),
        pytest.param([pet(SeriesDate=None, AcquisitionDate=None)], ONE_HOUR, id="dates taken away"),
        pytest.param([pet(RadiopharmaceuticalStartTime="1000")], ONE_HOUR, id="a time without seconds"),
        pytest.param([pet(Units="GML", SUVType="BW")], 1.0, id="SUVbw already"),
        pytest.param([pet(Units="GML")], 1.0, id="g/ml without a type"),
        pytest.param([philips(0x00, "0.000551")], 0.000551, id="Philips' SUV factor"),
        pytest.param([philips(0x09, "1.5")], 1.5 * ONE_HOUR, id="Philips' activity factor"),
        pytest.param([philips(0x00, "0.000551", PatientWeight=None)], 0.000551, id="Philips' factor needs no weight"),
    ],
)
def test_the_factor_is_right_to_a_thousandth(header, expected):
    found = suv_scaling(header)
    assert found.factor == pytest.approx(expected, rel=1e-4), found.reason


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ([pet(Modality="CT")], "not PET"),
        ([pet(Units=None)], "(0054,1001) is missing"),
        ([pet(Units="PROPCPS")], "(0054,1001)"),
        ([pet(Units="GML", SUVType="LBM")], "(0054,1006)"),
        ([pet(CorrectedImage=None)], "(0028,0051) is missing"),
        ([pet(CorrectedImage=["DECY", "SCAT"])], "ATTN"),
        ([pet(CorrectedImage=["ATTN"])], "DECY"),
        ([pet(DecayCorrection=None)], "(0054,1102) is missing"),
        ([pet(DecayCorrection="NONE")], "(0054,1102)"),
        ([pet(PatientWeight=None)], "(0010,1030) is missing"),
        ([pet(PatientWeight=0)], "(0010,1030) is zero"),
        ([pet(PatientWeight=70000)], "(0010,1030) is implausible"),
        ([pet(RadionuclideTotalDose=None)], "(0018,1074) is missing"),
        ([pet(RadionuclideTotalDose=0)], "(0018,1074) is zero"),
        ([pet(RadionuclideTotalDose=350)], "(0018,1074) is implausible"),
        ([pet(RadionuclideHalfLife=None)], "(0018,1075) is missing"),
        ([pet(RadionuclideHalfLife=0)], "(0018,1075) is zero"),
        ([pet(RadiopharmaceuticalStartTime=None)], "(0018,1072)"),
        ([pet(RadiopharmaceuticalStartDateTime="20200103100000")], "(0018,1078) lies after the scan"),
        ([pet(RadiopharmaceuticalStartDateTime="20190102100000")], "(0018,1078) lies more than 10 half lives"),
        ([pet(AcquisitionTime=None)], "(0008,0032)"),
        ([philips(0x00, "0")], "7053"),
        ([pet(Units="CNTS")], "7053"),
        ([pet(), pet(PatientWeight=71)], "PatientWeight"),
        ([pet(), pet(RadionuclideTotalDose=DOSE_BQ * 2)], "(0054,0016)"),
        ([philips(0x00, "0.0005"), philips(0x00, "0.0006")], "7053"),
        ([], "not PET"),
    ],
)
def test_what_is_missing_or_cannot_be_true_is_refused_by_name(header, named):
    found = suv_scaling(header)
    assert found.factor is None
    assert named in found.reason


@pytest.mark.parametrize("value", ["20190102100000", "20200103100000"])
def test_no_refusal_tells_a_date(value):
    reason = suv_scaling([pet(RadiopharmaceuticalStartDateTime=value)]).reason
    assert reason
    assert value[:8] not in reason


def test_a_half_life_that_is_not_the_nuclides_is_refused():
    dataset = pet(RadionuclideHalfLife=109.77)  # minutes, where DICOM asks for seconds
    code = Dataset()
    code.CodeValue = "C-111A1"
    dataset.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = Sequence([code])
    assert "(0018,1075) is not that of the radionuclide" in suv_scaling([dataset]).reason


def test_two_tracers_have_no_common_scale():
    dataset = pet()
    dataset.RadiopharmaceuticalInformationSequence.append(pet().RadiopharmaceuticalInformationSequence[0])
    assert "several radiopharmaceuticals" in suv_scaling([dataset]).reason


def test_what_was_assumed_is_noted():
    assert suv_scaling([pet()]).notes == ()
    assert "earliest acquisition" in suv_scaling([pet(SeriesTime="150000")]).notes[0]
    assert "evening before" in suv_scaling([pet(SeriesTime="003000", AcquisitionTime="003000",
                                                RadiopharmaceuticalStartTime="233000")]).notes[0]  # fmt: skip


def test_the_scale_does_not_depend_on_the_order_of_files():
    beds = [pet(SeriesTime="150000", AcquisitionTime=f"11{minute:02d}00") for minute in (20, 0, 10)]
    factors = {suv_scaling(order).factor for order in (beds, beds[::-1])}
    assert len(factors) == 1
    assert math.isclose(factors.pop() or 0.0, ONE_HOUR, rel_tol=1e-4)
