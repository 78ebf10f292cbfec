"""Odd pictures from seeds: formats x modes x depths x orientation x damage, each with the array it was made from.

Nothing of medshard writes them: PNG, BMP and Netpbm come from the few lines below, the rest from Pillow, tifffile and
imagecodecs. What was stored without loss has to come back exactly; JPEG is compared with Pillow's decoder.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags
from PIL import Image as Pillow

from medshard.converters.formats.format import Request
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

Chance = np.random.Generator
Pixels = np.ndarray[Any, Any]
LOSSY = 4
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True, kw_only=True)
class OddPicture:
    """content: of the file. expected: (c, y, x), upright. tolerance: 0 where nothing was lost. damage: what was done to
    the content. must: whether the damage leaves no other end than a refusal, or a reading; None where both are right.
    """

    name: str
    content: bytes
    expected: Pixels
    tolerance: int = 0
    index: bool = False
    says: str = ""
    damage: str = "whole"
    must: str | None = "read"


def odd_picture(seed: int) -> OddPicture:
    """The picture of a seed."""
    chance = np.random.default_rng(seed)
    made = MAKERS[seed % len(MAKERS)](chance)
    return damaged(made, chance)


def judged(odd: OddPicture, folder: Path) -> str:
    """`read` or the code of the refusal; AssertionError where the pixels, or the header, are wrong."""
    path = folder / "odd.bin"
    path.write_bytes(odd.content)
    request = Request(palette="index" if odd.index else "rgb")
    refusal: CaseError | None = None
    try:
        image = read_image([path], where="odd/case", request=request)
        header = read_header([path], where="odd/case", request=request)
    except CaseError as error:
        refusal = error
    if refusal is not None:
        assert odd.must != "read", f"{odd.name}, {odd.damage}: {refusal}"
        assert refusal.code.startswith("read."), refusal.code
        assert str(folder) not in str(refusal)
        return refusal.code
    assert odd.must != "refuse", f"{odd.name}, {odd.damage}: read"
    assert image.array.shape == (odd.expected.shape[0], 1, *odd.expected.shape[1:]), f"{odd.name}: {image.array.shape}"
    assert image.array.dtype == odd.expected.dtype, f"{odd.name}: {image.array.dtype}"
    assert image.array.shape == (header.channels, *header.shape), f"{odd.name}: {header.shape}"
    assert np.dtype(header.dtype) == image.array.dtype or np.dtype(header.dtype).kind == "f"
    difference = np.abs(image.array[:, 0].astype(np.float64) - odd.expected)
    assert difference.max() <= odd.tolerance, f"{odd.name}, {odd.damage}: differs by {difference.max()}"
    assert odd.says in " | ".join(header.warnings), f"{odd.name}: {header.warnings}"
    return "read"


def damaged(odd: OddPicture, chance: Chance) -> OddPicture:
    """Six in ten stay whole; others are cut, followed by junk, or (PNG, which has checksums) changed in a byte."""
    content, kind = odd.content, chance.random()
    if kind < 0.6:
        return odd
    if kind < 0.85:
        cut = int(chance.integers(1, len(content)))
        strict = odd.name.startswith(("jpeg", "png", "webp", "jp2", "pnm binary")) or cut < len(content) // 2
        return replace(odd, content=content[:cut], damage=f"cut to {cut}", must="refuse" if strict else None)
    if kind < 0.95 or not odd.name.startswith("png"):
        if odd.name.startswith("pnm text"):
            return odd
        junk = chance.integers(0, 256, int(chance.integers(1, 600)), np.uint8).tobytes()
        return replace(odd, content=content + b"\0" + junk, damage="junk behind")
    place = int(chance.integers(8, len(content) - 4))
    changed = bytearray(content)
    changed[place] ^= 1 << int(chance.integers(8))
    return replace(odd, content=bytes(changed), damage=f"byte {place} changed", must=None, says="")


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """(c, y, x) as it is shown, in Pillow's words for the eight orientations."""
    shown = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).T,
        8: np.rot90,
    }[orientation]
    return np.stack([shown(channel) for channel in pixels])


def scene(chance: Chance, depth: int, samples: int) -> Pixels:
    """(y, x, samples): a slope, a disc and some noise, over the whole range of the depth."""
    y, x = int(chance.integers(1, 60)), int(chance.integers(1, 60))
    rows, columns = np.mgrid[:y, :x]
    most = 2**depth - 1
    planes = []
    for _ in range(samples):
        slope = (rows * chance.integers(1, 9) + columns * chance.integers(1, 9)) / 960
        disc = (rows - y / 2) ** 2 + (columns - x / 2) ** 2 < (min(y, x) / 3) ** 2
        noise = chance.random((y, x)) * chance.choice([0, 0.1, 1])
        planes.append(np.clip((slope + 0.3 * disc + noise) % 1.0001, 0, 1) * most)
    dtype = np.uint8 if depth <= 8 else np.uint16
    return np.rint(np.stack(planes, axis=-1)).astype(dtype)


def channels_first(pixels: Pixels) -> Pixels:
    return np.moveaxis(pixels, -1, 0)


def orientation_of(chance: Chance) -> int:
    return int(chance.integers(1, 9)) if chance.random() < 0.4 else 1


def exif_block(orientation: int, order: str = ">") -> bytes:
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def png_bytes(
    samples: Pixels,
    depth: int,
    colour_type: int,
    *,
    interlaced: bool = False,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """A PNG of (y, x, s) samples, with every filter in turn."""
    y, x = samples.shape[:2]
    passes = [samples[a::c, b::d] for a, b, c, d in ADAM7] if interlaced else [samples]
    raw = b"".join(_filtered(part, depth) for part in passes if part.size)
    header = struct.pack(">IIBBBBB", x, y, depth, colour_type, 0, 0, interlaced)
    packed = zlib.compress(raw, 6)
    middle = len(packed) // 2
    chunks = [(b"IHDR", header), *extra, (b"IDAT", packed[:middle]), (b"IDAT", packed[middle:]), (b"IEND", b"")]
    sums = [struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    parts = [struct.pack(">I", len(body)) + kind + body + end for (kind, body), end in zip(chunks, sums, strict=True)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _filtered(samples: Pixels, depth: int) -> bytes:
    y, _, width = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").reshape(y, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.reshape(y, -1)
    else:
        bits = np.unpackbits(samples[..., 0][..., None], axis=-1)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(y, -1), axis=-1)
    step = max(1, width * depth // 8)
    before = np.zeros(rows.shape[1], np.int64)
    result = []
    for number, row in enumerate(rows.astype(np.int64)):
        left = np.concatenate([np.zeros(step, np.int64), row])[: len(row)]
        corner = np.concatenate([np.zeros(step, np.int64), before])[: len(row)]
        guess = left + before - corner
        far = [np.abs(guess - other) for other in (left, before, corner)]
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], before, corner))
        taken = (np.zeros_like(row), left, before, (left + before) // 2, paeth)[number % 5]
        result.append(bytes([number % 5]) + ((row - taken) % 256).astype(np.uint8).tobytes())
        before = row
    return b"".join(result)


def png_grey(chance: Chance) -> OddPicture:
    depth = int(chance.choice([1, 2, 4, 8, 16]))
    pixels, orientation = scene(chance, depth, 1), orientation_of(chance)
    extra = () if orientation == 1 else ((b"eXIf", exif_block(orientation)),)
    says = "" if orientation == 1 else f"orientation {orientation} applied"
    if chance.random() < 0.3:
        key = int(pixels.flat[0])
        extra, says = (*extra, (b"tRNS", struct.pack(">H", key))), f"{(pixels == key).sum()} of {pixels.size}"
    content = png_bytes(pixels, depth, 0, interlaced=bool(chance.integers(2)), extra=extra)
    expected = turned(channels_first(pixels), orientation)
    return OddPicture(name=f"png grey {depth}", content=content, expected=expected, says=says)


def png_colour(chance: Chance) -> OddPicture:
    depth, alpha, grey = int(chance.choice([8, 16])), bool(chance.integers(2)), bool(chance.integers(2))
    own = 1 if grey else 3
    pixels, orientation = scene(chance, depth, own + alpha), orientation_of(chance)
    colour_type = (4 if alpha else 0) if grey else (6 if alpha else 2)
    extra = ((b"eXIf", exif_block(orientation, "<")),) if orientation != 1 else ()
    content = png_bytes(pixels, depth, colour_type, interlaced=bool(chance.integers(2)), extra=extra)
    expected = turned(channels_first(pixels[..., :own]), orientation)
    says = "alpha channel dropped" if alpha else ""
    return OddPicture(name=f"png type {colour_type} {depth}", content=content, expected=expected, says=says)


def png_palette(chance: Chance) -> OddPicture:
    depth, index = int(chance.choice([1, 2, 4, 8])), bool(chance.integers(2))
    pixels = scene(chance, depth, 1)
    table = chance.integers(0, 256, (2**depth, 3), np.uint8)
    extra: tuple[tuple[bytes, bytes], ...] = ((b"PLTE", table.tobytes()),)
    says = "indices into a palette" if index else "palette expanded to RGB"
    if chance.random() < 0.4:
        alpha = chance.integers(0, 255, int(chance.integers(1, 2**depth + 1)), np.uint8)
        extra, says = (*extra, (b"tRNS", alpha.tobytes())), f"{(pixels < len(alpha)).sum()} of {pixels.size}"
        if not (pixels < len(alpha)).any():
            says = "every pixel is opaque"
    content = png_bytes(pixels, depth, 3, interlaced=bool(chance.integers(2)), extra=extra)
    shown = pixels if index else table[pixels[..., 0]]
    return OddPicture(
        name=f"png palette {depth}", content=content, expected=channels_first(shown), index=index, says=says
    )


def jpeg(chance: Chance) -> OddPicture:
    mode = str(chance.choice(["L", "RGB", "CMYK", "marked"]))
    samples = {"L": 1, "RGB": 3, "CMYK": 4, "marked": 3}[mode]
    pixels, orientation = scene(chance, 8, samples), orientation_of(chance)
    picture = Pillow.fromarray(pixels[..., 0] if samples == 1 else pixels, mode="CMYK" if samples == 4 else None)
    exif = Pillow.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    options: dict[str, Any] = {"quality": int(chance.integers(60, 100)), "progressive": bool(chance.integers(2))}
    if mode == "marked":
        options["keep_rgb"] = True
    elif mode == "RGB":
        options["subsampling"] = int(chance.choice([0, 1, 2]))
    picture.save(stream, "JPEG", exif=exif, **options)
    decoded = np.asarray(Pillow.open(io.BytesIO(stream.getvalue())).convert("L" if samples == 1 else "RGB"))
    expected = turned(channels_first(decoded.reshape(*pixels.shape[:2], -1)), orientation)
    says = "CMYK converted to RGB" if samples == 4 else ""
    return OddPicture(name=f"jpeg {mode}", content=stream.getvalue(), expected=expected, tolerance=LOSSY, says=says)


def jpeg_deep(chance: Chance) -> OddPicture:
    pixels = scene(chance, 12, 1)[..., 0]
    if chance.random() < 0.5:
        content = imagecodecs.ljpeg_encode(pixels, bitspersample=12)
        return OddPicture(name="jpeg lossless 12", content=content, expected=pixels[None])
    content = imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12)
    return OddPicture(name="jpeg 12", content=content, expected=pixels[None], tolerance=24)


def tiff_numbers(chance: Chance) -> OddPicture:
    kind = np.dtype(str(chance.choice(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])))
    samples = int(chance.choice([1, 3]))
    pixels = scene(chance, 16, samples)
    if kind.kind == "f":
        values = (pixels / 7).astype(kind)
    else:
        limits = np.iinfo(kind)
        values = (
            (limits.min + pixels.astype(np.float64) / 65535 * (limits.max - limits.min)).astype(np.int64).astype(kind)
        )
    compression = chance.choice(np.array([None, "lzw", "zlib", "packbits", "zstd", "lzma"], object))
    predictor = bool(chance.integers(2)) and compression in ("lzw", "zlib", "zstd")
    planar = samples == 3 and bool(chance.integers(2))
    stored = np.moveaxis(values, -1, 0) if planar else values if samples == 3 else values[..., 0]
    orientation = orientation_of(chance)
    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        stored,
        photometric="rgb" if samples == 3 else "minisblack",
        planarconfig=("separate" if planar else "contig") if samples == 3 else None,
        compression=compression,
        predictor=predictor,
        tile=(16, 32) if chance.random() < 0.4 else None,
        rowsperstrip=int(chance.integers(1, 40)) if chance.random() < 0.5 else None,
        byteorder=str(chance.choice(["<", ">"])),
        bigtiff=bool(chance.integers(2)),
        extratags=[(274, 3, 1, orientation, True)],
        metadata=None,
    )
    expected = turned(channels_first(values), orientation)
    if kind.kind == "f":
        expected = expected.astype(np.float32) if (expected % 1).any() else _as_integers(expected)
    return OddPicture(name=f"tiff {kind} x{samples} {compression}", content=stream.getvalue(), expected=expected)


def _as_integers(values: Pixels) -> Pixels:
    """Whole numbers in the first of these types that holds them, which is what is promised for floats."""
    kinds = (np.uint8, np.int16, np.uint16, np.int32)
    return values.astype(next(kind for kind in kinds if values.max() <= np.iinfo(kind).max))


def tiff_meanings(chance: Chance) -> OddPicture:
    stream, kind = io.BytesIO(), str(chance.choice(["white", "palette", "alpha", "bits", "jpeg", "cmyk"]))
    index = False
    if kind == "white":
        depth = int(chance.choice([8, 16]))
        pixels = scene(chance, depth, 1)
        tifffile.imwrite(stream, pixels[..., 0], photometric="miniswhite", metadata=None)
        expected, says = channels_first(2**depth - 1 - pixels), "0 is white"
    elif kind == "palette":
        pixels, index = scene(chance, 8, 1), bool(chance.integers(2))
        wide = bool(chance.integers(2))
        table = chance.integers(0, 65536, (3, 256)).astype(np.uint16)
        table = table if wide else (table // 257) * 257
        tifffile.imwrite(stream, pixels[..., 0], photometric="palette", colormap=table, metadata=None)
        colours = table if wide else (table // 257).astype(np.uint8)
        expected, says = (channels_first(pixels) if index else colours[:, pixels[..., 0]]), "palette"
    elif kind == "alpha":
        pixels = scene(chance, 16, 4)
        tifffile.imwrite(stream, pixels, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
        expected, says = channels_first(pixels[..., :3]), "alpha channel dropped"
    elif kind == "bits":
        pixels = scene(chance, 1, 1)
        coding = chance.choice(np.array([None, "group3", "group4", "packbits", "tiff_lzw"], object))
        Pillow.fromarray(pixels[..., 0] > 0).save(stream, "TIFF", compression=coding)
        expected, says = channels_first(pixels), ""
    elif kind == "jpeg":
        pixels = scene(chance, 8, 3)
        Pillow.fromarray(pixels).save(stream, "TIFF", compression="jpeg", quality=95)
        decoded = np.asarray(Pillow.open(io.BytesIO(stream.getvalue())).convert("RGB"))
        return OddPicture(
            name="tiff jpeg", content=stream.getvalue(), expected=channels_first(decoded), tolerance=LOSSY
        )
    else:
        pixels = scene(chance, 8, 4)
        picture = Pillow.fromarray(pixels, mode="CMYK")
        picture.save(stream, "TIFF")
        expected, says = channels_first(np.asarray(picture.convert("RGB"))), "CMYK converted to RGB"
    return OddPicture(name=f"tiff {kind}", content=stream.getvalue(), expected=expected, index=index, says=says)


def bmp(chance: Chance) -> OddPicture:
    depth = int(chance.choice([1, 4, 8, 24, 32]))
    if depth > 8:
        pixels = scene(chance, 8, 3 if depth == 24 else 4)
        stream = io.BytesIO()
        Pillow.fromarray(pixels).save(stream, "BMP")
        says = "alpha channel dropped" if depth == 32 else ""
        expected = channels_first(pixels[..., :3])
        return OddPicture(name=f"bmp {depth}", content=stream.getvalue(), expected=expected, says=says)
    pixels, index = scene(chance, depth, 1), bool(chance.integers(2))
    table = chance.integers(0, 256, (2**depth, 3), np.uint8)
    table[0] = (1, 2, 3)
    runs = depth == 8 and bool(chance.integers(2))
    content = bmp_bytes(pixels[..., 0], depth, table, runs=runs)
    expected = channels_first(pixels if index else table[pixels[..., 0]])
    return OddPicture(name=f"bmp {depth} runs {runs}", content=content, expected=expected, index=index, says="palette")


def bmp_bytes(indices: Pixels, depth: int, table: Pixels, *, runs: bool = False) -> bytes:
    """A BMP with a palette; with runs it is BI_RLE8, in runs of one."""
    y, x = indices.shape
    if runs:
        rows = [b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in indices[::-1]]
        body = b"".join(rows) + b"\0\1"
    else:
        bits = np.unpackbits(indices[::-1, :, None], axis=-1)[..., 8 - depth :].reshape(y, -1)
        packed = np.packbits(bits, axis=-1)
        body = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4))).tobytes()
    palette = b"".join(bytes([blue, green, red, 0]) for red, green, blue in table.tolist())
    offset = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, x, y, 1, depth, 1 if runs else 0, len(body), 0, 0, len(table), 0)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + info + palette + body


def gif(chance: Chance) -> OddPicture:
    pixels, index = scene(chance, 8, 1)[..., 0], bool(chance.integers(2))
    table = chance.integers(0, 256, (256, 3), np.uint8)
    table[0] = (1, 2, 3)
    picture = Pillow.fromarray(pixels, mode="P")
    picture.putpalette(table.tobytes())
    stream = io.BytesIO()
    picture.save(stream, "GIF", optimize=False)
    expected = pixels[None] if index else channels_first(table[pixels])
    return OddPicture(name="gif", content=stream.getvalue(), expected=expected, index=index, says="palette")


def netpbm(chance: Chance) -> OddPicture:
    kind = int(chance.integers(1, 7))
    most = 1 if kind in (1, 4) else int(chance.choice([1, 15, 255, 1000, 4095, 65535]))
    pixels = scene(chance, 16, 3 if kind in (3, 6) else 1).astype(np.int64) * most // 65535
    y, x, _ = pixels.shape
    head = f"P{kind}\n# made up\n{x} {y}\n".encode() + (b"" if kind in (1, 4) else f"{most}\n".encode())
    if kind in (2, 3):
        body = b"\n".join(b" ".join(b"%d" % value for value in row) for row in pixels.reshape(y, -1).tolist()) + b"\n"
    elif kind == 1:
        body = b"\n".join(b"".join(b"%d" % value for value in row) for row in pixels[..., 0].tolist()) + b"\n"
    elif kind == 4:
        body = np.packbits(pixels[..., 0].astype(np.uint8), axis=-1).tobytes()
    else:
        body = pixels.astype(np.uint8 if most < 256 else ">u2").tobytes()
    values = (1 - pixels if kind in (1, 4) else pixels).astype(np.uint8 if most < 256 else np.uint16)
    text = "text" if kind < 4 else "binary"
    return OddPicture(name=f"pnm {text} P{kind} {most}", content=head + body, expected=channels_first(values))


def webp(chance: Chance) -> OddPicture:
    alpha = bool(chance.integers(2))
    pixels = scene(chance, 8, 3 + alpha)
    if alpha:
        pixels[0, 0, 3] = 0
    content = imagecodecs.webp_encode(pixels, lossless=True, method=2)
    visible = channels_first(pixels[..., :3]).copy()
    if alpha:
        # Encoders may change the colour below full transparency.
        decoded = np.asarray(Pillow.open(io.BytesIO(content)).convert("RGBA"))
        visible = channels_first(decoded[..., :3])
    return OddPicture(name="webp", content=content, expected=visible, says="alpha channel dropped" if alpha else "")


def jpeg2000(chance: Chance) -> OddPicture:
    samples, depth = int(chance.choice([1, 3])), int(chance.choice([8, 16]))
    pixels = scene(chance, depth, samples)
    signed = samples == 1 and depth == 16 and bool(chance.integers(2))
    values = (pixels.astype(np.int32) - 2**15).astype(np.int16) if signed else pixels
    stored = values[..., 0] if samples == 1 else values
    kind = str(chance.choice(["jp2", "j2k"]))
    content = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, codecformat=kind)
    return OddPicture(name=f"jp2 {kind} {values.dtype}", content=content, expected=channels_first(values))


MAKERS: tuple[Callable[[Chance], OddPicture], ...] = (
    png_grey,
    png_colour,
    png_palette,
    jpeg,
    jpeg_deep,
    tiff_numbers,
    tiff_meanings,
    bmp,
    gif,
    netpbm,
    webp,
    jpeg2000,
    tiff_numbers,
    jpeg,
)
