"""Protected health information planted in files, one token of its own for each kind, and a search for the tokens.

No token is a word, a name or a number of anybody; each is distinct, so that a find says which kind has leaked.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
from made_dicom import item
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

UID_ROOT = "1.2.826.0.1.3680043.9.77171"
STEM = "Zaqx"


def token(number: int) -> str:
    """Eight letters, not in any dictionary: `Zaqx` and the number in letters."""
    letters = "bcdfghjkmp"
    return f"{STEM}{''.join(letters[int(digit)] for digit in f'{number:04d}')}"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Free text that a header can hold beside the allowed attributes.
FREE_TEXT = _words(
    "PatientName OtherPatientNames PatientBirthName PatientMotherBirthName PatientAddress PatientTelephoneNumbers "
    "OtherPatientIDs IssuerOfPatientID AccessionNumber StudyID ReferringPhysicianName ReferringPhysicianAddress "
    "ReferringPhysicianTelephoneNumbers PerformingPhysicianName OperatorsName NameOfPhysiciansReadingStudy "
    "PhysiciansOfRecord RequestingPhysician RequestingService InstitutionName InstitutionAddress "
    "InstitutionalDepartmentName StationName DeviceSerialNumber ProtocolName SeriesDescription StudyDescription "
    "PatientComments ImageComments StudyComments AdmittingDiagnosesDescription Occupation EthnicGroup "
    "PatientReligiousPreference MilitaryRank BranchOfService InsurancePlanIdentification MedicalAlerts Allergies "
    "AdditionalPatientHistory CountryOfResidence RegionOfResidence PatientState DerivationDescription "
    "SoftwareVersions PerformedProcedureStepDescription PerformedProcedureStepID RequestedProcedureDescription "
    "ReasonForStudy AdmissionID CurrentPatientLocation ResponsiblePerson ResponsibleOrganization "
    "ClinicalTrialSubjectID ClinicalTrialSiteName DetectorID PlateID CassetteID GantryID AcquisitionComments "
    "AcquisitionProtocolDescription InterpretationText TextComments DeidentificationMethod ContributionDescription "
    "SequenceName PulseSequenceName CodingSchemeDesignator SpecialNeeds DeviceDescription "
)

DATES = _words("PatientBirthDate StudyDate SeriesDate AcquisitionDate ContentDate LastMenstrualDate AdmittingDate ")
TIMES = _words("PatientBirthTime StudyTime SeriesTime AcquisitionTime ContentTime ")
UIDS = _words(
    "StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID DeviceUID IrradiationEventUID "
    "SynchronizationFrameOfReferenceUID "
)
ALLOWED_TEXT = _words(
    "BodyPartExamined ImageType ConvolutionKernel Manufacturer ManufacturerModelName ScanOptions ScanningSequence "
    "SequenceVariant PatientPosition ViewPosition Laterality ImageLaterality ContrastBolusAgent AcquisitionContrast "
    "MRAcquisitionType Units CorrectedImage DecayCorrection SeriesType PatientSex BurnedInAnnotation ConversionType "
    "PresentationIntentType LossyImageCompression RescaleType InPlanePhaseEncodingDirection "
    "RecognizableVisualFeatures SecondaryCaptureDeviceManufacturer "
)
"""Attributes that are read, with a token in the place of a defined term."""


def planted_dicom(dataset: Dataset) -> dict[str, str]:
    """Plant every kind in a data set; kind -> token. The same call on the slices of a series plants the same."""
    kinds: dict[str, str] = {}

    def new(kind: str, form: Callable[[str], str] = str) -> str:
        kinds[kind] = form(token(len(kinds)))
        return kinds[kind]

    with _no_checks():
        dataset.SpecificCharacterSet = "ISO_IR 192"
        ideographic = new("ideographic", lambda _: "\u69ca\u7b46\u9f8d")
        dataset.PatientName = f"{new('PatientName')}^{token(900)}={ideographic}^x"
        for keyword in FREE_TEXT[1:]:
            setattr(dataset, keyword, new(keyword))
        dataset.PatientID = new("PatientID")
        for number, keyword in enumerate(DATES):
            setattr(dataset, keyword, new(keyword, lambda _, n=number: f"19{31 + n}0{1 + n}2{n}"))
        for number, keyword in enumerate(TIMES):
            setattr(dataset, keyword, new(keyword, lambda _, n=number: f"1{n}4{n}59.7{n}3{n}19"))
        for number, keyword in enumerate(UIDS):
            setattr(dataset, keyword, new(keyword, lambda _, n=number: f"{UID_ROOT}.{n}.424242"))
        for keyword in ALLOWED_TEXT:
            _put_text(dataset, keyword, new(f"in {keyword}"))
        dataset.ImageType = ["ORIGINAL", "PRIMARY", kinds["in ImageType"]]
        dataset.BodyPartExamined = f"{kinds['in BodyPartExamined'].upper()}^JOHN"
        _plant_sequences(dataset, new)
        private = dataset.private_block(0x0099, new("private creator"), create=True)
        private.add_new(0x01, "LO", new("private element"))
        private.add_new(0x02, "PN", new("private name"))
        dataset.add(DataElement(0x60004000, "LT", new("overlay comment")))
        dataset.add(DataElement(0x60001500, "LO", new("overlay label")))
        dataset.add(DataElement(0x50002600, "LO", new("curve label")))
        dataset.add(DataElement(0x00104321, "UN", new("element of no dictionary").encode()))
        dataset.add(DataElement("PatientWeight", "LO", new("weight in a wrong VR")))
        dataset.file_meta.SourceApplicationEntityTitle = new("source AE title")
        dataset.file_meta.ImplementationVersionName = new("implementation version")
        dataset.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.98.1"
        dataset.file_meta.PrivateInformation = new("private information").encode()
        dataset.preamble = new("preamble").encode().ljust(128, b"\0")
    return kinds


def _plant_sequences(dataset: Dataset, new: Callable[..., str]) -> None:
    code = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning=new("code meaning"))
    dataset.RequestAttributesSequence = [
        item(ScheduledProcedureStepDescription=new("request"), RequestedProcedureID=new("request id"))
    ]
    dataset.ReferencedStudySequence = [
        item(ReferencedSOPInstanceUID=new("referenced study", lambda _: f"{UID_ROOT}.55.1"))
    ]
    dataset.ContentSequence = [item(TextValue=new("structured content"), PersonName=new("person in content"))]
    dataset.GraphicAnnotationSequence = [item(TextObjectSequence=[item(UnformattedTextValue=new("graphic text"))])]
    dataset.OriginalAttributesSequence = [
        item(ModifyingSystem=new("original"), ModifiedAttributesSequence=[item(PatientName=new("original name"))])
    ]
    dataset.DigitalSignaturesSequence = [item(CertificateOfSigner=new("certificate").encode())]
    dataset.IconImageSequence = [item(Rows=1, Columns=8, BitsAllocated=8, PixelData=new("icon").encode()[:8])]
    dataset.AnatomicRegionSequence = [code]
    dataset.ProcedureCodeSequence = [item(CodeMeaning=new("procedure code"))]
    dataset.OtherPatientIDsSequence = [item(PatientID=new("other id"), IssuerOfPatientID=new("other issuer"))]
    dataset.PersonIdentificationCodeSequence = [item(CodeMeaning=new("person code"))]
    dataset.PerformedProtocolCodeSequence = [item(CodeMeaning=new("protocol code"))]
    dataset.ContributingEquipmentSequence = [item(InstitutionName=new("contributing institution"))]
    dataset.ContrastBolusAgentSequence = [item(CodeMeaning=new("contrast code"))]
    dataset.RadiopharmaceuticalInformationSequence = [
        item(
            Radiopharmaceutical=new("radiopharmaceutical"),
            RadionuclideCodeSequence=[item(CodeMeaning=f"^18^{new('nuclide')}")],
        )
    ]


# Attribute that the readers interpret -> VR, and a value of it that a token of equal length can take the place of.
INTERPRETED = {
    "SliceThickness": "31.415926535",
    "SpacingBetweenSlices": "31.415926535",
    "ImagePositionPatient": "31.415926535",
    "ImageOrientationPatient": "31.415926535",
    "PixelSpacing": "31.415926535",
    "RescaleSlope": "31.415926535",
    "RescaleIntercept": "31.415926535",
    "GantryDetectorTilt": "31.415926535",
    "KVP": "31.415926535",
    "EchoTime": "31.415926535",
    "MagneticFieldStrength": "31.415926535",
    "WindowCenter": "31.415926535",
    "InstanceNumber": "1314159265",
    "SeriesNumber": "1314159265",
    "AcquisitionNumber": "1314159265",
    "TemporalPositionIdentifier": "1314159265",
    "NumberOfFrames": "1314159265",
    "PatientAge": "045Y",
    "StudyDate": "19310723",
    "AcquisitionTime": "104259.123456",
    "AcquisitionDateTime": "19310723104259.123456",
    "SOPInstanceUID": f"{UID_ROOT}.314159265.1",
    "SOPClassUID": f"{UID_ROOT}.314159265.2",
    "SeriesInstanceUID": f"{UID_ROOT}.314159265.3",
    "TransferSyntaxUID": f"{UID_ROOT}.314159265.4",
    "Modality": "QQQQQQQQ",
    "PhotometricInterpretation": "QQQQQQQQ",
    "SpecificCharacterSet": "ISO_IR 100",
    "RescaleType": "QQQQQQQQ",
    "ImageType": "QQQQQQQQ",
}


def malformed(dataset: Dataset, keyword: str, *, implicit: bool) -> tuple[bytes, str]:
    """A file whose attribute holds a token where its VR asks for something else, and the token."""
    placeholder = INTERPRETED[keyword]
    said = (f"{STEM}{keyword}" + "vurp" * 9)[: len(placeholder)]
    if len(placeholder) < 6:
        said = "Zqx!"
    target = dataset.file_meta if keyword == "TransferSyntaxUID" else dataset
    count = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}.get(keyword, 1)
    written = io.BytesIO()
    with _no_checks():
        if keyword != "TransferSyntaxUID":
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        setattr(target, keyword, [placeholder] * count if count > 1 else placeholder)
        dataset.save_as(written, enforce_file_format=False, implicit_vr=implicit, little_endian=True)
    data = written.getvalue()
    assert placeholder.encode() in data
    return data.replace(placeholder.encode(), said.encode()), said


def _put_text(dataset: Dataset, keyword: str, value: str) -> None:
    setattr(dataset, keyword, value)


class _no_checks:  # noqa: N801 - reads as a word in `with _no_checks():`
    """pydicom writes what it is given."""

    def __enter__(self) -> None:
        self.before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
        config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE

    def __exit__(self, *_: object) -> None:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = self.before


# --- the search


def leaks(kinds: Mapping[str, str], content: bytes | str) -> list[str]:
    """The kinds whose token occurs in some bytes, in any of the forms of `forms_of`."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    lowered = data.lower()
    return [kind for kind, told in kinds.items() if any(form.lower() in lowered for form in forms_of(told))]


def forms_of(told: str) -> Iterator[bytes]:
    """A token as text, UTF-16, hexadecimal and base64; a date also as people write it, and backwards."""
    for text in _spellings(told):
        plain = text.encode()
        yield plain
        yield text.encode("utf-16-le")
        yield text.encode("utf-16-be")
        yield json.dumps(text).strip('"').encode()
        yield plain.hex().encode()
        for shift, first in enumerate((0, 2, 3)):
            # Three alignments; the outer digits, which depend on the neighbours too, are cut off.
            encoded = base64.b64encode(b"\0" * shift + plain).rstrip(b"=")
            if len(core := encoded[first : -1 if (shift + len(plain)) % 3 else None]) >= 7:
                yield core


def _spellings(told: str) -> Iterable[str]:
    if not (told.isdigit() and len(told) == 8):
        return (told,) if not told.isascii() else (told, told[::-1])
    year, month, day = told[:4], told[4:6], told[6:]
    orders = ((year, month, day), (day, month, year), (month, day, year))
    return [told, told[::-1], *(mark.join(order) for mark in "-./ " for order in orders), day + month + year]


def contents_of(folder: Path, *, without: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of all files below a folder, of what archives hold as well, and of tables' rows.

    The names of the files count as content.
    """
    left_out = tuple(without)
    for path in sorted(folder.rglob("*")):
        if any(path == other or other in path.parents for other in left_out):
            continue
        name = path.relative_to(folder).as_posix()
        yield f"name of {name}", name.encode(errors="surrogatepass")
        if path.is_file():
            data = path.read_bytes()
            yield name, data
            yield from _inside(name, path, data)


def _inside(name: str, path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                yield f"{name}:{member}", member.encode() + archive.read(member)
    elif data[:4] == b"PAR1":
        table = pq.read_table(path)
        yield f"{name} rows", repr(table.to_pylist()).encode() + repr(table.schema.metadata).encode()
    elif data[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError):
            yield f"{name} inflated", gzip.decompress(data)
    elif path.suffix == ".tar" and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for entry in archive.getmembers():
                stream = archive.extractfile(entry)
                yield f"{name}:{entry.name}", stream.read() if stream else b""
