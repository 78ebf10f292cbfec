"""No header value that could name a person leaves a file: about 150 kinds are planted, and none is found afterwards.

Looked through are headers, images, errors, warnings, canonical Zarr trees, and a whole built store without its raw
objects. The ids of `Header.identifiers` are raw on purpose; whoever stores them hashes them first.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_phi
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from made_dicom import enhanced, frames, planes, write
from made_phi import contents_of, leaks, malformed, planted_dicom, token

from medshard.converters.canonical import write_volume
from medshard.converters.dicom.attributes import acquisition, dropped_note, identifiers, modality, subject_facts
from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.formats.library_messages import without_values
from medshard.converters.geometry import canonical_volume
from medshard.converters.reading import read_header, read_image
from medshard.converters.volume import Volume
from medshard.errors import CaseError
from medshard.registry import Catalog
from medshard.registry.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")

SHAPE = (5, 6, 8)
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@pytest.fixture(scope="module")
def planted_series(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], dict[str, str]]:
    """A CT series of five slices with every kind in every slice."""
    return _written(frames(planes(5)), tmp_path_factory.mktemp("planted"))


def _written(datasets: list[Any], folder: Path) -> tuple[list[Path], dict[str, str]]:
    kinds: dict[str, str] = {}
    for dataset in datasets:
        kinds = planted_dicom(dataset)
    return write(datasets, folder), kinds


def said(files: list[Path], tmp_path: Path) -> str:
    """Everything that reading says of some files: header, image, tree, errors, log, and warnings that nobody caught."""
    parts: list[str] = []
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            header = read_header(files, where="entry/case")
            parts.append(repr(dataclasses.replace(header, identifiers={})))
            image = read_image(files, where="entry/case")
            parts.append(repr(image))
            volume = Volume(entry="entry", case="case", patient="p", images={"ct": image})
            tree = tmp_path / f"tree-{len(list(tmp_path.glob('tree-*')))}"
            write_volume(canonical_volume(volume), tree)
            parts += [f"{name} {content!r}" for name, content in contents_of(tree)]
        except CaseError as error:
            parts += [str(error), repr(error.args), repr(error.details)]
        finally:
            logging.getLogger().removeHandler(handler)
    return "\n".join([*parts, log.getvalue(), *(str(warning.message) for warning in caught)])


class TestTheSearchItself:
    """A search that finds nothing proves something only when it would have found it."""

    def test_every_planted_kind_is_in_the_file_itself(self, planted_series):
        files, kinds = planted_series
        assert len(kinds) >= 140
        assert set(leaks(kinds, files[0].read_bytes())) == set(kinds)

    @pytest.mark.parametrize(
        "written",
        [
            lambda text: text.encode(),
            lambda text: text.upper().encode(),
            lambda text: text.encode("utf-16-le"),
            lambda text: text.encode("utf-16-be"),
            lambda text: text.encode().hex().encode(),
            lambda text: text[::-1].encode(),
            lambda text: made_phi.base64.b64encode(b"x" + text.encode() + b"yz"),
            lambda text: made_phi.base64.b64encode(b"xy" + text.encode()),
        ],
    )
    def test_a_token_is_found_in_every_form(self, written: Callable[[str], bytes]):
        assert leaks({"name": token(7)}, b"before " + written(token(7)) + b" after") == ["name"]

    @pytest.mark.parametrize("shown", ["19310723", "1931-07-23", "23.07.1931", "07/23/1931", "32701391", "23071931"])
    def test_a_date_is_found_however_it_is_written(self, shown: str):
        assert leaks({"born": "19310723"}, f"on {shown}") == ["born"]

    def test_archives_and_tables_are_looked_into(self, tmp_path: Path):
        import zipfile

        import pyarrow as pa
        import pyarrow.parquet as pq

        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zarr.json", (token(1) + " ") * 99)
        pq.write_table(pa.table({"x": [token(2)] * 99}), tmp_path / "b.parquet", compression="zstd")
        told = {"zip": token(1), "table": token(2)}
        assert {kind for _, data in contents_of(tmp_path) for kind in leaks(told, data)} == set(told)


class TestDicom:
    def test_what_is_read_of_a_series_tells_nothing(self, planted_series, tmp_path):
        files, kinds = planted_series
        assert leaks(kinds, said(files, tmp_path)) == []

    def test_the_allow_list_lets_nothing_through(self, planted_series):
        files, kinds = planted_series
        dataset = pydicom.dcmread(files[0])
        found = (acquisition(dataset), subject_facts(dataset), modality(dataset), dropped_note(dataset))
        assert leaks(kinds, repr(found)) == []
        assert found[0].attributes["SliceThickness"] == 2.5

    def test_also_when_pydicom_has_converted_every_element_before(self, planted_series):
        files, _ = planted_series
        dataset = pydicom.dcmread(files[0])
        before = acquisition(pydicom.dcmread(files[0]))
        list(dataset.iterall())
        assert acquisition(dataset) == before

    def test_the_ids_that_leave_are_five(self, planted_series):
        files, kinds = planted_series
        found = identifiers(pydicom.dcmread(files[0]))
        assert found == {keyword: kinds[keyword] for keyword in (*UIDS, "PatientID", "InstitutionName")}
        assert set(read_header(files, where="e/c").identifiers) <= set(found)

    @pytest.mark.parametrize("made", ["MR", "PT"])
    def test_other_modalities_tell_nothing(self, made: str, tmp_path: Path):
        files, kinds = _written(frames(planes(4), modality=made), tmp_path / "files")
        assert leaks(kinds, said(files, tmp_path)) == []

    def test_an_enhanced_object_tells_nothing(self, tmp_path: Path):
        files, kinds = _written([enhanced(planes(6))], tmp_path / "files")
        assert leaks(kinds, said(files, tmp_path)) == []

    def test_two_patients_in_one_folder_are_told_by_number(self, tmp_path: Path):
        first, second = frames(planes(3)), frames(planes(3, start=500), series="other")
        files, kinds = _written(first, tmp_path / "files")
        for dataset in second:
            dataset.PatientName, dataset.PatientID = token(801), token(802)
            dataset.SeriesDescription, dataset.StudyDescription = token(803), token(804)
            dataset.SeriesInstanceUID = f"{made_phi.UID_ROOT}.805"
        files += write(second, tmp_path / "files", prefix="other")
        kinds |= {str(number): token(number) for number in range(801, 805)}
        kinds["uid"] = f"{made_phi.UID_ROOT}.805"
        found = said(files, tmp_path)
        assert "CaseError" in found
        assert leaks(kinds, found) == []

    @pytest.mark.parametrize(
        "spoil",
        [
            pytest.param(lambda data: data[: len(data) - 40], id="pixels cut"),
            pytest.param(lambda data: data[: len(data) // 2], id="header cut"),
            pytest.param(lambda data: data.replace(b"DS", b"ZZ"), id="VRs that do not exist"),
            pytest.param(lambda data: data.replace(b"PN", b"FD"), id="names as numbers"),
            pytest.param(lambda data: data.replace(b"LO", b"UI"), id="text as identifiers"),
            pytest.param(lambda data: data.replace(b"LO", b"DA"), id="text as dates"),
            pytest.param(lambda data: data.replace(b"DA", b"DS"), id="dates as numbers"),
            pytest.param(lambda data: data.replace(b"CS", b"IS"), id="words as numbers"),
            pytest.param(lambda data: data.replace(b"LO", b"CS").replace(b"PN", b"CS"), id="text as words"),
        ],
    )
    def test_spoilt_files_tell_nothing(self, planted_series, tmp_path: Path, spoil: Callable[[bytes], bytes]):
        files, kinds = planted_series
        for path in files:
            (tmp_path / path.name).write_bytes(spoil(path.read_bytes()))
        assert leaks(kinds, said(sorted(tmp_path.glob("*.dcm")), tmp_path)) == []

    @pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
    @pytest.mark.parametrize("keyword", sorted(made_phi.INTERPRETED))
    def test_a_malformed_value_is_not_quoted(self, keyword: str, implicit: bool, tmp_path: Path):
        datasets = frames(planes(3))
        paths = write(datasets, tmp_path / "files")
        data, planted = malformed(copy.deepcopy(datasets[1]), keyword, implicit=implicit)
        paths[1].write_bytes(data)
        for files in (paths, paths[1:2]):
            assert leaks({keyword: planted}, said(files, tmp_path)) == []


class TestOtherFormats:
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    def test_nifti(self, kind: Any, ending: str, tmp_path: Path):
        image = kind(np.arange(240, dtype=np.int16).reshape(SHAPE), np.diag([1, 2, 3, 1]))
        fields = {"descrip": 1, "aux_file": 2, "intent_name": 3} | ({"db_name": 4} if kind is nib.Nifti1Image else {})
        for field, number in fields.items():
            image.header[field] = token(number).encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", token(5).encode()))
        image.header.extensions.append(nib.nifti1.Nifti1Extension(2, b"\x10\x00\x10\x00PN\x08\x00" + token(6).encode()))
        path = tmp_path / f"scan{ending}"
        nib.save(image, path)
        kinds = {field: token(number) for field, number in fields.items()} | {"comment": token(5), "dicom": token(6)}
        raw = path.read_bytes() if ending == ".nii" else made_phi.gzip.decompress(path.read_bytes())
        assert set(leaks(kinds, raw)) == set(kinds)
        assert leaks(kinds, said([path], tmp_path)) == []

    @pytest.mark.parametrize("field", ["scl_slope", "datatype", "dim", "vox_offset", "magic", "sform"])
    def test_text_in_the_numbers_of_a_nifti_header(self, field: str, tmp_path: Path):
        place = {"dim": 40, "datatype": 70, "vox_offset": 108, "scl_slope": 112, "sform": 280, "magic": 344}[field]
        path = tmp_path / "scan.nii"
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), path)
        data = bytearray(path.read_bytes())
        data[place : place + 8] = token(9).encode()[:8]
        path.write_bytes(data)
        assert leaks({field: token(9)}, said([path], tmp_path)) == []

    def test_nrrd(self, tmp_path: Path):
        image = sitk.GetImageFromArray(np.arange(240, dtype=np.int16).reshape(SHAPE))
        path = tmp_path / "scan.nrrd"
        sitk.WriteImage(image, str(path))
        head, _, body = path.read_bytes().partition(b"\n\n")
        lines = [f"# {token(1)}", f"content: {token(2)}", f"patient name:={token(3)}", f'labels: "{token(4)}" "" ""']
        kinds = {line: token(number) for number, line in enumerate(lines, start=1)}
        path.write_bytes(b"\n".join([head, *(line.encode() for line in lines)]) + b"\n\n" + body)
        assert leaks(kinds, said([path], tmp_path)) == []
        for field in ("sizes", "type", "encoding", "space", "space directions", "endian"):
            spoilt = tmp_path / f"spoilt-{field.replace(' ', '-')}.nrrd"
            kept = [line for line in head.splitlines() if not line.startswith(field.encode() + b":")]
            spoilt.write_bytes(b"\n".join([*kept, f"{field}: {token(5)} {token(6)}".encode()]) + b"\n\n" + body)
            assert leaks({"a": token(5), "b": token(6)}, said([spoilt], tmp_path / field)) == []

    def test_metaimage(self, tmp_path: Path):
        path = tmp_path / "scan.mha"
        sitk.WriteImage(sitk.GetImageFromArray(np.arange(240, dtype=np.int16).reshape(SHAPE)), str(path))
        data = path.read_bytes()
        extra = [f"Comment = {token(1)}", f"Name = {token(2)}", f"PatientName = {token(3)}", f"ID = {token(4)}"]
        told = "".join(line + "\n" for line in extra).encode()
        path.write_bytes(data.replace(b"ElementDataFile", told + b"ElementDataFile"))
        kinds = {line: token(number) for number, line in enumerate(extra, start=1)}
        assert leaks(kinds, said([path], tmp_path)) == []
        for field in ("DimSize", "ElementType", "ElementSpacing", "TransformMatrix", "ElementDataFile"):
            lines = [
                f"{field} = {token(5)}".encode() if line.startswith(field.encode()) else line
                for line in data.split(b"\n")
            ]
            spoilt = tmp_path / f"spoilt-{field}.mha"
            spoilt.write_bytes(b"\n".join(lines))
            # A name of a data file is a file's name, which may be said.
            if field != "ElementDataFile":
                assert leaks({field: token(5)}, said([spoilt], tmp_path / field)) == []

    def test_a_text_file_is_not_quoted(self, tmp_path: Path):
        path = tmp_path / "letter.txt"
        path.write_text(f"{token(1)}, {token(2)} born 1931")
        assert leaks({"name": token(1)}, said([path], tmp_path)) == []


class TestMessagesOfLibraries:
    @pytest.mark.parametrize(
        ("message", "expected"),
        [
            ("could not convert string to float: 'DOE^JANE'", "could not convert string to float: ..."),
            ("Compressed file ended before the end-of-stream marker was reached", None),
            ("The number of bytes of pixel data is less than expected (524287 vs 524288 bytes)", None),
            ("Missing required element: (0028,0004) 'Photometric Interpretation'", None),
            ("invalid literal for int() with base 10: '19310723'", "invalid literal for int() with base ..."),
            ("Invalid value for VR UI: '1.2.840.1931'", "Invalid value for VR ..."),
        ],
    )
    def test_the_librarys_own_words_stay_and_values_go(self, message: str, expected: str | None):
        assert without_values(message) == (expected or message)

    def test_the_name_of_a_file_covers_no_value_that_it_is_part_of(self):
        said = "could not convert string to float: 'JaneDoe' DOE^a in a"
        assert without_values(said, kept=("a", "0")) == "could not convert string to float: ... in a"

    def test_a_message_of_values_alone_leaves_the_kind_of_error(self, tmp_path: Path):
        with pytest.raises(CaseError) as error, bad_file_errors(tmp_path / "scan", "reader"):
            raise KeyError("DOE^JANE 19310723")
        assert error.value.details["reason"] == "KeyError"

    def test_errors_of_kinds_that_libraries_invent_are_errors_of_the_file(self, tmp_path: Path):
        with pytest.raises(CaseError), bad_file_errors(tmp_path / "scan", "nibabel"):
            raise nib.spatialimages.HeaderDataError("vox offset 0 too low")
        with pytest.raises(CaseError), bad_file_errors(tmp_path / "scan", "pydicom"):
            raise pydicom.errors.BytesLengthException("Expected total bytes")


CATALOG = """\
format_version: 1
entries:
  - id: planted
    title: Planted
    description: Made for a test.
    version: "1"
    groups: [abdomen]
    modalities: [CT]
    tasks: [segmentation]
    dimensions: [3]
    licence: {id: CC-BY-4.0}
    access: {kind: open}
    maturity: described
    acquisition:
      - {kind: folder, path: scans}
    cases:
      - modality: CT
        case: "{case}"
        images: {ct: {path: "{case}/ct/*.dcm"}}
        labels: {organ: {path: "{case}/mask.nii.gz", classes: {1: liver}}}
    plans:
      default: {spacing_mm: [2.5, 0.6, 0.8], patch_size: [4, 4, 4], inner_chunk: [4, 4, 4], shard_mib: 8}
"""


def test_a_built_store_tells_nothing(tmp_path: Path):
    """Good cases, one with a broken file and one with a malformed header: all of the store but the raw objects."""
    from medshard.pipelines.build import build

    (tmp_path / "catalog.yaml").write_text(textwrap.dedent(CATALOG))
    kinds: dict[str, str] = {}
    for number in range(4):
        folder = tmp_path / "scans" / f"case{number}"
        files, kinds = _written(frames(planes(16, 16, 16, start=number), series=str(number)), folder / "ct")
        mask = np.zeros((16, 16, 16), np.uint8)
        mask[4:9, 4:9, 4:9] = 1
        affine = np.array([[-0.8, 0, 0, 20.0], [0, -0.6, 0, -15.0], [0, 0, 2.5, -310.5], [0, 0, 0, 1]])
        image = nib.Nifti1Image(mask, affine)
        image.header["descrip"] = token(701).encode()
        nib.save(image, folder / "mask.nii.gz")
    files[3].write_bytes(files[3].read_bytes()[:-100])
    (tmp_path / "scans" / "case2" / "ct" / "image-0003.dcm").write_bytes(
        malformed(frames(planes(3))[1], "ImagePositionPatient", implicit=False)[0]
    )
    kinds |= {"descrip": token(701), "malformed": "ZaqxImage"}
    catalog = Catalog.load([tmp_path / "catalog.yaml"])
    assert catalog.problems == ()
    store = Store.open(tmp_path / "store")
    results = build(store, "planted", catalog=catalog)
    assert [len(result.manifest.good) for result in results if result.stage == "volumes"] == [2]
    raw = [store.path(record.output) for record in results[0].manifest.records if record.output]
    found = {f"{kind} in {name}" for name, data in contents_of(store.root, without=raw) for kind in leaks(kinds, data)}
    assert found == set()
