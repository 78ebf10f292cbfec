"""Damaged and hostile slides: an error of their case, before anything of a stated size is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import made_dicom_slides
import made_slides
import numpy as np
import pytest
import tifffile
from made_slides import MadeSlide, slide_picture

from medshard.converters.slides.reading import is_slide, open_regions, read_slide
from medshard.errors import CaseError

WHERE = "made/case"
PICTURE = slide_picture(1027, 1403)


def _kept_file(folder: Path, made: MadeSlide, keep: float) -> list[Path]:
    """The slide with every file cut to a share of its bytes."""
    files = []
    for path in made.files:
        content = path.read_bytes()
        (folder / path.name).write_bytes(content[: int(len(content) * keep)])
        files.append(folder / path.name)
    return files


def _read_everything(files: Sequence[Path]) -> None:
    slide = read_slide(files, where=WHERE)
    with open_regions(files, slide, where=WHERE) as region:
        for number, level in enumerate(slide.levels):
            region(number, 0, 0, *level.shape)


@pytest.mark.parametrize("keep", [0.05, 0.5, 0.97])
@pytest.mark.parametrize("kind", ["aperio", "dicom", "philips"])
def test_a_truncated_slide_is_an_error_of_its_case(tmp_path: Path, kind: str, keep: float) -> None:
    picture = slide_picture(1024, 1024)
    made = {
        "aperio": lambda: made_slides.aperio(tmp_path / "a.svs", picture, compression="jpeg"),
        "dicom": lambda: made_dicom_slides.dicom_slide(tmp_path / "d", picture),
        "philips": lambda: made_slides.philips(tmp_path / "p.tiff", picture),
    }[kind]()
    (tmp_path / "cut").mkdir()
    files = _kept_file(tmp_path / "cut", made, keep)

    with pytest.raises(CaseError) as caught:
        _read_everything(files)

    assert caught.value.code.startswith("read.")
    assert "Doe" not in str(caught.value)


def test_broken_bytes_give_a_slide_or_an_error_of_its_case(tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    made = made_slides.aperio(tmp_path / "a.svs", slide_picture(300, 400), compression="jpeg", factors=(2,))
    content = np.frombuffer(made.files[0].read_bytes(), np.uint8)
    outcomes: list[str] = []
    for _ in range(60):
        broken = content.copy()
        # The directories stand between the pixels; half of the changes go where they are dense.
        places = np.concatenate([random.integers(0, len(broken), 8), random.integers(0, 400, 2)])
        broken[places] = random.integers(0, 256, len(places))
        path = tmp_path / "b.svs"
        path.write_bytes(broken.tobytes())
        try:
            outcomes.append(str(read_slide([path], where=WHERE).warnings))
        except CaseError as error:
            outcomes.append(f"refused: {error}")
    assert "Doe" not in str(outcomes)
    assert 0 < sum(outcome.startswith("refused") for outcome in outcomes) < len(outcomes)


def test_a_tile_that_states_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    made = made_slides.pyramid(tmp_path / "p.tif", PICTURE, compression="jpeg")
    content = bytearray(made.files[0].read_bytes())
    with tifffile.TiffFile(made.files[0]) as file:
        offsets = [int(one) for page in file.pages for one in page.dataoffsets]
    for offset in offsets:
        at = content.index(b"\xff\xc0", offset)
        content[at + 5 : at + 9] = b"\xff\xf0\xff\xf0"
    made.files[0].write_bytes(content)

    with pytest.raises(CaseError, match="larger than the slide says"):
        read_slide(made.files, where=WHERE)


def test_a_dicom_frame_that_states_another_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    made = made_dicom_slides.dicom_slide(tmp_path / "d", PICTURE, jpeg=True)
    for path in made.files:
        content = path.read_bytes()
        at = content.find(b"\xff\xc0\x00\x11")
        while at >= 0:
            content = content[: at + 5] + b"\xff\xf0\xff\xf0" + content[at + 9 :]
            at = content.find(b"\xff\xc0\x00\x11", at + 4)
        path.write_bytes(content)
    with pytest.raises(CaseError, match="larger than the slide says"):
        read_slide(made.files, where=WHERE)


def test_tiles_of_gigabytes_are_refused_by_their_header(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    made_slides.pyramid(path, PICTURE)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileWidth", "TileLength"):
            file.pages[0].tags[name].overwrite(65520)
    with pytest.raises(CaseError, match="too large to decode"):
        read_slide([path], where=WHERE)


def test_left_out_tiles_are_empty_glass_and_said(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    made_slides.pyramid(path, PICTURE)
    with tifffile.TiffFile(path, mode="r+") as file:
        counts = list(file.pages[0].databytecounts)
        counts[0] = 0
        file.pages[0].tags["TileByteCounts"].overwrite(counts)

    slide = read_slide([path], where=WHERE)

    assert "1 tiles are not stored and read as empty glass" in slide.warnings
    with open_regions([path], slide, where=WHERE) as region:
        assert (region(0, 0, 0, 256, 256) == 255).all()
        assert not (region(0, 256, 256, 200, 200) == 255).all()


def test_inverted_and_other_colours_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    for photometric, picture in (("miniswhite", PICTURE[..., 0]), ("separated", PICTURE[..., [0, 1, 2, 0]])):
        with tifffile.TiffWriter(path) as writer:
            for factor in (1, 2):
                smaller = made_slides.reduced(picture, factor)
                writer.write(smaller, tile=(256, 256), photometric=photometric, metadata=None)
        assert is_slide([path])
        with pytest.raises(CaseError, match="neither grey nor RGB"):
            read_slide([path], where=WHERE)
