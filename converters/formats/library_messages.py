"""What libraries say about bad files, without the values that they quote from them.

A message such as `could not convert string to float: 'DOE^JANE'` names a person when the header does. Told apart by
words: what is on the list below is the libraries' own, and every other word is taken for a value and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LEFT_OUT = "..."
LEAST_WORDS = 2
LONGEST = 4000
"""Characters that are looked at; what libraries say beyond that repeats."""

_NUMBER = re.compile(r"[-+]?\d{1,12}(?:\.\d{1,6})?")
_TAG = re.compile(r"\([0-9A-Fa-f]{4}, ?[0-9A-Fa-f]{4}\)")
# What stands for a name that may be said; a word that has more than that is judged by the rest.
_MARK = re.compile("\0\\d+\0")
_COUNTED = frozenset({"byte", "bytes", "bit", "bits", "pixel", "pixels", "frame", "frames", "vs"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS = _words(
    "_nrrdformatnrrd_read _nrrdread a abort aborted ac access all allocate allocated an analyze and another any "
    "archive are argument arguments array as ascii at attempt attribute attributes available bad base be because "
    "been before begin beginning begins behavior behaviour beyond big bit bitmap bitpix bits block boundary bounds "
    "broken buffer by byte bytes bz2 bzip can cannot check checksum chunk code coefficient color colour columns "
    "compressed compression configuration content contents conversion convert converted corresponds corrupt "
    "corrupted corruption could count cpython crc create data dataset datatype dc dct decode decode() decoded "
    "decoder decoding decompress decompressed decompressing decompression deflated delimitation delimiter "
    "descriptor detected determinant determine determined device dicom dict did different dim dimension dimensions "
    "direction directions do does dqt dtype due during either element elements embedded empty encode encoded "
    "encoding end ended endian ends enough entropy entry eof eoi error errors even exceed exceeds exception "
    "exceptions exist exists expected explicit extension failed failure fewer field fields file filename files "
    "first float float() float16 float32 float64 floating follow followed following for format formats found frame "
    "frames fread free from function gif given got group gzip h5py had handle has have hdf5 header headers height "
    "high huffman identified identify if ignored image imagefilereader imagefilereader_execute "
    "imagefilereader_readimageinformation imageio images implemented implicit in incomplete inconsistent incorrect "
    "index information input instead int int() int16 int32 int64 int8 integer intercept internal interpretation "
    "into invalid io is it item items itk its j2k jfif jpeg jpeg-ls jpeg2000 key keyword kind known large larger "
    "last layout len length less less-than libjpeg libraries library like limit line list literal little load "
    "loaded loading looked lookup low lower magic marker mask mat match matlab matrix maximum may meaningless "
    "member memory message metaimage metaimageio metaio mha mhd minimum mismatch misplaced missing module more "
    "multiple must name nan native negative new next nibabel nifti nifti1 nifti2 niftiimageio no non none nonetype "
    "not npy npz nrrd nrrdimageio nrrdioparse nrrdload nrrdread nul null number numbers numpy object of offset old "
    "on one only open opened openjpeg openjph operation option or order orientation origin original orthonormal "
    "other out output outside over overflow padding palette parse parsed parser parsing part per permission "
    "photometric pillow pixdim pixel pixeldata pixels pixeltype planar plausible plugin plugins png pngimageio "
    "point pointer position positional positive possible problem process pydicom pylibjpeg qform quaternion raised "
    "range raw reached read read() reader readimageinformation reading real received record reference refusing "
    "region remaining repeats. representation representations requested require required requires reserved reshape "
    "result rgb rle rows same sample samples say scalar scipy seek segment segments sequence set sets sform shape "
    "shapes short should signature signed simpleitk single singular sitk size sizes slice slices slope small "
    "smaller so sof soi some sos source space spacing start started starting stated stop stopped storage stored "
    "stream streams string strings struct structure such supported sync syntax table tag tags tail takes terminated "
    "than that the them then there these this three thrown tiff tile to too total trailing transfer trouble "
    "truncated tuple two type types uid uint16 uint32 uint64 uint8 unable undefined under unexpected unexpectedly "
    "unicode unit units unknown unless unpack unpacking unreadable unrecognised unrecognized unsigned unsupported "
    "unterminated until up upper use using utf-8 utf8 valid value values vector version volume vox vr vrs vs "
    "warning was were what when where which while width with without would write written wrong ybr yet zero zip "
    "zlib zstd "
)


def without_values(message: str, *, kept: Iterable[str] = ()) -> str | None:
    """A library's message with `...` for whatever is none of its own words; None where next to nothing is left.

    kept: names that may be said, such as that of the file. Counts of bytes and the like stay, and so do tags; other
    numbers go, since they may be a date or a record number.
    """
    marks = {f"\0{number}\0": name for number, name in enumerate(sorted(set(kept), key=len, reverse=True)) if name}
    text = message[:LONGEST].replace("\0", " ")
    if marks:
        marked = {name: mark for mark, name in marks.items()}
        names = "|".join(re.escape(name) for name in marked)
        text = re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda found: marked[found[0]], text)
    words = text.split()
    shown: list[str] = []
    for number, word in enumerate(words):
        around = [words[place] for place in (number - 1, number + 1) if 0 <= place < len(words)]
        if _may_be_said(word, around):
            shown.append(word)
        elif not shown or shown[-1] != LEFT_OUT:
            shown.append(LEFT_OUT)
    if sum(any(letter.isalpha() for letter in word) for word in shown) < LEAST_WORDS:
        return None
    result = " ".join(shown)
    for mark, name in marks.items():
        result = result.replace(mark, name)
    return result


def _may_be_said(word: str, around: Iterable[str]) -> bool:
    bare = _MARK.sub("", word).strip("'\"`.,:;!?[]{}<>=-").lower()
    if not bare or _TAG.fullmatch(bare) or bare in _WORDS:
        return True
    plain = bare.strip("()")
    if _NUMBER.fullmatch(plain):
        return any(other.strip(".,:;()'").lower() in _COUNTED for other in around)
    parts = [part for part in re.split(r"[()/:,=\-]+", plain) if part]
    return all(part in _WORDS for part in parts)
