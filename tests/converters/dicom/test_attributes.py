"""The allow-list: what is kept is what the header says, typed and bounded; what is not on a list stays behind."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dicom import enhanced, item, planes
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from medshard.converters.age import age_band, age_band_between
from medshard.converters.dicom import defined_terms as terms
from medshard.converters.dicom.allow_list import ALLOWED
from medshard.converters.dicom.attributes import (
    acquisition,
    acquisition_attributes,
    dropped_note,
    identifiers,
    modality,
    subject_facts,
)
from medshard.converters.dicom.makers import canonical_maker, known_model

TEXT_ATTRIBUTES = [a.keyword for a in ALLOWED if dictionary_VR(tag_for_keyword(a.keyword)) in {"CS", "LO", "SH"}]


def real(name: str) -> Any:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return pydicom.dcmread(Path(found), stop_before_pixels=True)


def raw(keyword: str, value: bytes, vr: str | None = None) -> Dataset:
    """A data set with one element as it comes out of a file, not yet looked at."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    element = RawDataElement(
        pydicom.tag.Tag(tag),
        vr or dictionary_VR(tag),
        len(value),
        value,
        0,
        is_implicit_VR=False,
        is_little_endian=True,
    )
    return Dataset({pydicom.tag.Tag(tag): element})


class TestRealHeaders:
    @pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "ExplVR_BigEnd.dcm", "MR_small_bigendian.dcm"])
    def test_numbers_are_those_that_pydicom_reads(self, name: str):
        dataset = real(name)
        found = acquisition_attributes(dataset)
        numbers = {keyword: value for keyword, value in found.items() if isinstance(value, float)}
        stated = {keyword: real(name).get(keyword) for keyword in numbers}
        assert {keyword: pytest.approx(float(value)) for keyword, value in stated.items()} == numbers

    def test_a_ct(self):
        found = acquisition_attributes(real("CT_small.dcm"))
        assert found["KVP"] == 120.0
        assert found["SliceThickness"] == 5.0
        assert found["ConvolutionKernel"] == "STANDARD"
        assert found["ContrastBolusAgent"] is True
        assert found["ImageType"] == ("ORIGINAL", "PRIMARY", "AXIAL")
        assert found["Manufacturer"] == "GE"

    def test_an_mr(self):
        found = acquisition_attributes(real("MR_small.dcm"))
        assert (found["RepetitionTime"], found["EchoTime"]) == (4000.0, 240.0)
        assert found["ScanningSequence"] == "SE"
        assert found["Manufacturer"] == "Toshiba"

    def test_facts_are_coarse(self):
        facts = subject_facts(real("MR_small.dcm"))
        assert (facts.sex, facts.age_band, facts.site, facts.manufacturer) == ("F", None, None, "Toshiba")

    def test_ids_and_institution_come_as_stated_for_whoever_hashes_them(self):
        dataset = real("CT_small.dcm")
        assert identifiers(dataset)["StudyInstanceUID"] == str(real("CT_small.dcm").StudyInstanceUID)
        assert identifiers(dataset)["InstitutionName"] == real("CT_small.dcm").InstitutionName


class TestWords:
    def test_words_off_the_list_go_and_are_counted_by_attribute(self):
        dataset = Dataset()
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "JANE", "DOE"]
        dataset.BodyPartExamined = "CHEST"
        dataset.Laterality = "DOE"
        dataset.KVP = "120"
        found = acquisition(dataset)
        assert found.attributes == {"ImageType": ("ORIGINAL", "PRIMARY"), "BodyPartExamined": "CHEST", "KVP": 120.0}
        assert found.dropped == ("ImageType", "Laterality")
        note = dropped_note(dataset)
        assert note is not None
        assert "2 attributes" in note
        assert "DOE" not in note

    @pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
    @pytest.mark.parametrize("keyword", TEXT_ATTRIBUTES)
    @settings(max_examples=25, deadline=None)
    @given(name=st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), min_size=3, max_size=30))
    def test_a_name_in_any_text_attribute_goes(self, keyword: str, name: str):
        marked = f"Zq{name}"
        found = acquisition_attributes(raw(keyword, marked.encode("latin-1", "replace")))
        assert "zq" not in repr(found).lower()

    @pytest.mark.parametrize(
        ("kernel", "kept"),
        [
            *[(kernel, kernel) for kernel in ("B30f", "Br40d", "H31s", "Qr36d", "STANDARD", "BONEPLUS", "FC08", "UB")],
            *[(kernel, kernel) for kernel in ("B", "STD+", "B_SOFT_B", "XYZ Gauss2.00")],
            ("I31f\\3", "I31f 3"),
            *[(kernel, None) for kernel in ("DOE", "JD", "John Doe", "B30f DOE", "12345678", "J12345", "B301931")],
        ],
    )
    def test_kernels(self, kernel: str, kept: str | None):
        assert acquisition_attributes(raw("ConvolutionKernel", kernel.encode())).get("ConvolutionKernel") == kept

    @pytest.mark.parametrize(
        ("agent", "given_one"),
        [("ISOVUE300/100", True), ("Dr Doe gave 80 ml", True), ("NONE", False), ("no", False), ("NO CONTRAST", False)],
    )
    def test_of_a_contrast_agent_only_whether_there_was_one(self, agent: str, given_one: bool):
        assert acquisition_attributes(raw("ContrastBolusAgent", agent.encode())) == {"ContrastBolusAgent": given_one}

    @pytest.mark.parametrize(
        ("meaning", "kept"),
        [
            ("^18^Fluorine", "F-18"),
            ("F-18", "F-18"),
            ("18F", "F-18"),
            ("Technetium 99m", "Tc-99m"),
            ("^68^Gallium", "Ga-68"),
            ("Doe^18", None),
            ("Fluorine-19", None),
            ("Jane 131", None),
        ],
    )
    def test_a_nuclide_has_an_element_and_a_mass(self, meaning: str, kept: str | None):
        dataset = Dataset()
        code = item(CodeMeaning=meaning)
        dataset.RadiopharmaceuticalInformationSequence = [item(RadionuclideCodeSequence=[code])]
        assert acquisition_attributes(dataset).get("RadionuclideCodeSequence") == kept

    def test_the_modality_is_a_code_of_the_standard(self):
        assert modality(raw("Modality", b"CT")) == "CT"
        assert modality(raw("Modality", b"DOE^JOHN")) is None

    def test_no_list_holds_a_blank_or_lower_case(self):
        for words in (terms.IMAGE_TYPES, terms.BODY_PARTS, terms.SCAN_OPTIONS, terms.KERNELS):
            assert all(word == word.upper() and " " not in word for word in words)


class TestNumbers:
    @pytest.mark.parametrize(
        ("keyword", "stated"),
        [
            ("KVP", b"19310723"),
            ("EchoTime", b"-1"),
            ("FlipAngle", b"nan"),
            ("SliceThickness", b"inf"),
            ("KVP", b"DOE"),
            ("EchoTime", b"1e400"),
            ("MagneticFieldStrength", b"1931"),
            ("KVP", b"\xff\xfe"),
            ("KVP", b"120\\DOE"),
        ],
    )
    def test_what_no_scanner_can_state_goes(self, keyword: str, stated: bytes):
        found = acquisition(raw(keyword, stated))
        # 1931 gauss would be a magnet of 0.19 tesla
        expected = {"MagneticFieldStrength": 0.1931} if keyword == "MagneticFieldStrength" else {}
        assert found.attributes == expected

    @settings(max_examples=300, deadline=None)
    @given(
        keyword=st.sampled_from(
            [attribute.keyword for attribute in ALLOWED] + ["PatientAge", "Manufacturer", "PatientSex"]
        ),
        value=st.binary(max_size=40),
        vr=st.sampled_from([None, "UN", "FD", "US", "DS", "CS", "PN", "SQ", "OB"]),
    )
    def test_any_bytes_in_any_vr_neither_raise_nor_warn(self, keyword: str, value: bytes, vr: str | None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = acquisition(raw(keyword, value, vr))
            subject = subject_facts(raw(keyword, value, vr))
        assert found.attributes.keys() <= {attribute.keyword for attribute in ALLOWED}
        assert subject.sex in (None, "F", "M", "O")

    def test_gauss_become_tesla_and_strengths_those_that_are_sold(self):
        assert acquisition_attributes(raw("MagneticFieldStrength", b"15000"))["MagneticFieldStrength"] == 1.5
        for stated, sold in ((b"2.89362", 3.0), (b"0.345", 0.35), (b"1.494", 1.5), (b"2.2", None), (b"6.98", 7.0)):
            assert subject_facts(raw("MagneticFieldStrength", stated)).field_strength_t == sold


class TestEnhancedObjects:
    def test_a_frame_has_its_own_and_the_shared_groups(self):
        dataset = enhanced(planes(2))
        dataset.EchoTime = "99"
        shared = dataset.SharedFunctionalGroupsSequence[0]
        shared.MRTimingAndRelatedParametersSequence = [item(RepetitionTime=2000.0, FlipAngle=90.0)]
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.MREchoSequence = [item(EffectiveEchoTime=30.0 + number)]
            group.MRDiffusionSequence = [item(DiffusionBValue=1000.0 * number)]
        first, second = acquisition_attributes(dataset, 0), acquisition_attributes(dataset, 1)
        assert (first["EchoTime"], second["EchoTime"]) == (30.0, 31.0)
        assert (first["DiffusionBValue"], second["DiffusionBValue"]) == (0.0, 1000.0)
        assert first["RepetitionTime"] == second["RepetitionTime"] == 2000.0
        assert first["SliceThickness"] == 2.5

    def test_a_frame_that_is_not_there_has_what_is_shared(self):
        assert acquisition_attributes(enhanced(planes(2)), 99)["SliceThickness"] == 2.5


class TestMachines:
    @pytest.mark.parametrize(
        ("stated", "maker"),
        [
            ("SIEMENS", "Siemens"),
            ("Siemens Healthineers", "Siemens"),
            ("GE MEDICAL SYSTEMS", "GE"),
            ("G.E. Medical", "GE"),
            ("Philips Medical Systems, Inc.", "Philips"),
            ("CANON_MEC", "Canon"),
            ("UIH", "United Imaging"),
            ("GEORGE DOE", None),
            ("DOE^JOHN", None),
            ("", None),
            ("SIEMENSDOE", None),
        ],
    )
    def test_makers_by_their_usual_names(self, stated: str, maker: str | None):
        assert canonical_maker(stated) == maker

    @pytest.mark.parametrize(
        "model",
        [
            "Prisma_fit",
            "SIGNA Architect",
            "uMR 770",
            "DISCOVERY MR750",
            "MAGNETOM Prisma Fit",
            "Ingenuity CT",
            "TrioTim",
            "Achieva dStream",
            "Eclipse 1.5T",
            "LightSpeed Ultra",
            "EPIQ 7C",
            "SOMATOM Definition AS+",
            "Aquilion ONE",
        ],
    )
    def test_real_models_are_kept(self, model: str):
        assert known_model(model, "Siemens") == " ".join(model.replace("_", " ").split())

    @pytest.mark.parametrize(
        "model", ["JOHN DOE", "Skyra DOE", "Skyra 19310723", "12345678", "1234 5678", "Skyra JD1931 1 2 3", "Doe, John"]
    )
    def test_a_name_or_number_in_the_model_drops_it(self, model: str):
        assert known_model(model, "Siemens") is None

    def test_of_an_unknown_maker_no_model_is_kept(self):
        assert known_model("Skyra", None) is None


class TestAges:
    @pytest.mark.parametrize(
        ("stated", "band"),
        [
            ("045Y", "40-49"),
            ("018M", "0-9"),
            ("003W", "0-9"),
            ("012D", "0-9"),
            ("089Y", "80-89"),
            ("090Y", "90+"),
            ("104Y", "90+"),
            ("45", "40-49"),
            ("000Y", None),
            ("***", None),
            ("", None),
            ("DOE", None),
            ("999Y", None),
        ],
    )
    def test_bands_of_ten_years(self, stated: str, band: str | None):
        assert age_band(stated) == band

    @pytest.mark.parametrize(
        ("born", "examined", "band"),
        [
            ("19700606", "20220407", "50-59"),
            ("19310723", "20210722", "80-89"),
            ("19310723", "20210723", "90+"),
            ("20000229", "20100228", "0-9"),
            ("20220407", "19700606", None),
            ("***", "20220407", None),
            ("19701332", "20220407", None),
            ("1970.06.06", "1997.04.24", "20-29"),
            ("18000101", "20220407", None),
        ],
    )
    def test_from_birth_and_examination(self, born: str, examined: str, band: str | None):
        assert age_band_between(born, examined) == band

    def test_the_stated_age_stands_above_the_dates(self):
        dataset = Dataset()
        dataset.PatientAge, dataset.PatientBirthDate, dataset.StudyDate = "045Y", "19310723", "20220407"
        assert subject_facts(dataset).age_band == "40-49"
        dataset.PatientAge = "000Y"
        assert subject_facts(dataset).age_band == "90+"
