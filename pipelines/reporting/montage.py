"""Contact sheets: the cases of an entry in one small picture, for the UI and the report."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from medshard.converters.canonical import read_volume
from medshard.converters.volume import Image, LabelLayer, Mesh, Rescale, Volume
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.reporting.mesh_views import shown_meshes
from medshard.pipelines.reporting.planes import Mask, Plane, Shown, shown_images
from medshard.registry.store.manifests import read_manifest, require_head
from medshard.registry.store.objects import Store

Colour = tuple[int, int, int]
Size = tuple[int, int]

WHITE, DIM, LINE, BLACK = (255, 255, 255), (170, 170, 170), (70, 70, 70), (0, 0, 0)
# Okabe and Ito's colours, which colour-blind readers can tell apart too; those that show on black and on white first.
CONCEPT_COLOURS: tuple[Colour, ...] = (
    *((213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 158, 115)),
    *((204, 121, 167), (230, 159, 0), (0, 114, 178)),
)
CONVENTION = "Radiological view: the patient's right is on the left (R, L); sagittal slices face left (A, P)."
FONT_PIXELS = 12
LINE_PIXELS = 15
GAP = 6
# Tried in this order until the picture is small enough: share of the tile's size, number of grey levels.
ECONOMIES = ((1.0, 64), (1.0, 32), (0.85, 32), (0.72, 28), (0.6, 24), (0.5, 24), (0.4, 16))
COLOURS_OF_PHOTOGRAPHS = 96
SCALE_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, kw_only=True)
class _Style:
    """How one attempt at a sheet is drawn."""

    tile: Size
    colours: Mapping[str, Colour]
    font: Any


def contact_sheet(
    store: Store,
    entry_id: str,
    *,
    stage: Literal["volumes", "shards"] = "volumes",
    plan: str | None = None,
    most_cases: int = 12,
    tile: Size = (480, 190),
    most_bytes: int = 100_000,
) -> bytes:
    """PNG of the cases of an entry: three orthogonal slices each, with the outlines of their classes and a legend.

    stage: `volumes` shows them as converted, `shards` as they went into the shards of `plan`. Of more than `most_cases`
    cases, evenly spaced ones are taken. tile: largest width and height of one image's slices in pixels; it shrinks, as
    does the number of greys, until the file has at most `most_bytes`. Equal stores give equal bytes.
    Raises StoreError[stage.not_built].
    """
    if stage == "shards":
        volumes, total = _samples(store, entry_id, plan or "default", most_cases)
    else:
        volumes, total = _volumes(store, entry_id, most_cases)
    note = f"{most_cases} of {total} cases, evenly spaced. " if total > most_cases else ""
    return draw_sheet(volumes, tile=tile, most_bytes=most_bytes, note=note)


def draw_sheet(
    volumes: Iterable[Volume], *, tile: Size = (480, 190), most_bytes: int = 100_000, note: str = ""
) -> bytes:
    """PNG of volumes in canonical orientation, as `contact_sheet` describes it. note: printed before the convention."""
    shown = [each for volume in volumes for each in (*shown_images(volume), *shown_meshes(volume))]
    concepts = sorted({concept for each in shown for concept in each.concepts})
    colours = {name: CONCEPT_COLOURS[number % len(CONCEPT_COLOURS)] for number, name in enumerate(concepts)}
    png = b""
    for share, greys in ECONOMIES:
        style = _Style(
            tile=(round(tile[0] * share), round(tile[1] * share)),
            colours=colours,
            font=ImageFont.load_default(size=FONT_PIXELS),
        )
        png = _encode(_sheet(shown, style, note), greys, photographs=_photographs(shown))
        if len(png) <= most_bytes:
            break
    return png


def histogram_png(summary: Mapping[str, Any], cases: Mapping[str, Mapping[str, Any]] | None = None) -> bytes:
    """PNG of an entry's intensities per modality and of its voxel spacings.

    summary: what `merge_fingerprints` returns; its foreground percentiles are marked. cases: case -> facts of
    `fingerprint_volume`; each gives a curve and its spacing a point. Without them only the summary's ranges are drawn.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second, and a sheet does not need it)

    modalities = list(summary["modalities"])
    figure = Figure(figsize=(3.3 * (len(modalities) + 1), 2.7), dpi=80, layout="constrained")
    panels = figure.subplots(1, len(modalities) + 1, squeeze=False)[0]
    images = [image for facts in (cases or {}).values() for _, image in sorted(facts["images"].items())]
    for panel, modality in zip(panels, modalities, strict=False):
        _draw_intensities(
            panel, modality, [i for i in images if i["modality"] == modality], summary["foreground"][modality]
        )
    _draw_spacings(panels[-1], [image for image in images if image["trusted_geometry"]], summary["images"])
    stream = io.BytesIO()
    # Without the name and version of the software that drew it, the picture depends on the numbers alone.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _volumes(store: Store, entry_id: str, most_cases: int) -> tuple[Iterable[Volume], int]:
    good = read_manifest(store, require_head(store, entry_id, "volumes").manifest).good
    outputs = [record.output for record in good if record.output is not None]
    return (read_volume(store.path(outputs[n])) for n in _spread(len(outputs), most_cases)), len(outputs)


def _samples(store: Store, entry_id: str, plan: str, most_cases: int) -> tuple[Iterable[Volume], int]:
    index = SampleIndex.open(store, entry_id, plan)
    records = read_manifest(store, require_head(store, entry_id, "cases").manifest)
    trusted = {
        record.case: all(image["trusted_geometry"] for image in record.facts["images"].values())
        for record in records.good
    }
    rows = (index.row(number) for number in _spread(len(index), most_cases))
    return (_sample_volume(index, row, trusted.get(row.case, True)) for row in rows), len(index)


def _sample_volume(index: SampleIndex, row: SampleRow, trusted: bool) -> Volume:
    """A sample as a volume again, to be drawn like one."""
    rescale = Rescale(slope=(row.slope,), intercept=(row.intercept,), unit=row.unit)
    image = {}
    if "image" in row.arrays:
        array = index.read_array(row, "image")
        image["sample"] = Image(
            array=array, affine=row.affine, rescale=rescale, modality=row.modality, trusted_geometry=trusted
        )
    labels = {
        name: LabelLayer(
            array=index.read_array(row, f"labels/{name}"),
            affine=row.affine,
            kind="instance" if label.kind == "instance" else "semantic",
            classes=dict(label.classes),
            examined=label.examined,
        )
        for name, label in row.labels.items()
    }
    parts = {name: index.read_array(row, name) for name in row.arrays if name.startswith("meshes/")}
    meshes = {
        name.split("/")[1]: Mesh(
            vertices=cast(NDArray[np.float64], vertices),
            faces=cast(NDArray[np.int64], parts[name.replace("vertices", "faces")]),
            unit="unknown",
        )
        for name, vertices in parts.items()
        if name.endswith("/vertices")
    }
    return Volume(entry=row.entry, case=row.case, patient=row.patient, images=image, labels=labels, meshes=meshes)


def _spread(count: int, most: int) -> list[int]:
    kept = min(count, most)
    return [number * count // kept for number in range(kept)]


def _sheet(shown: Sequence[Shown], style: _Style, note: str) -> Picture.Image:
    """All tiles in two columns, the legend below."""
    tiles = [_tile(each, style) for each in shown]
    columns = 1 if len(tiles) < 2 else 2
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in line) + GAP for line in lines]
    width = columns * (style.tile[0] + GAP) + GAP
    legend = _legend(style, note + (CONVENTION if any(p.left for s in shown for p in s.planes) else ""), width)
    sheet = Picture.new("RGB", (width, sum(heights) + legend.height + GAP), BLACK)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for line, height in zip(lines, heights, strict=True):
        for column, tile in enumerate(line):
            sheet.paste(tile, (GAP + column * (style.tile[0] + GAP), top))
        top += height
        draw.line((GAP, top - GAP // 2, width - GAP, top - GAP // 2), fill=LINE)
    sheet.paste(legend, (0, top))
    return sheet


def _legend(style: _Style, text: str, width: int) -> Picture.Image:
    """The classes in their colours, then the text, broken into lines that fit."""
    lines: list[list[tuple[str, Colour]]] = [[]]
    words = [(concept, colour) for concept, colour in style.colours.items()]
    left = GAP
    for word, colour in (*words, *((word, DIM) for word in text.split())):
        length = round(style.font.getlength(word)) + 2 * GAP
        if left + length > width and lines[-1]:
            lines.append([])
            left = GAP
        lines[-1].append((word, colour))
        left += length
    legend = Picture.new("RGB", (width, len(lines) * LINE_PIXELS), BLACK)
    draw = ImageDraw.Draw(legend)
    for number, line in enumerate(lines):
        left = GAP
        for word, colour in line:
            draw.text((left, number * LINE_PIXELS), word, fill=colour, font=style.font)
            left += round(style.font.getlength(word)) + (2 * GAP if colour != DIM else GAP // 2 + 1)
    return legend


def _tile(shown: Shown, style: _Style) -> Picture.Image:
    """Caption and planes of one image; all planes have the same number of pixels per mm."""
    width, height = style.tile
    top = LINE_PIXELS * len(shown.caption)
    sizes = [plane.size_mm for plane in shown.planes]
    gaps = GAP * max(0, len(sizes) - 1)
    scale = min(
        (width - gaps) / max(sum(size[1] for size in sizes), 1e-9),
        height / max((size[0] for size in sizes), default=1.0),
    )
    tallest = max((round(size[0] * scale) for size in sizes), default=0)
    tile = Picture.new("RGB", (width, top + max(1, tallest)), BLACK)
    draw = ImageDraw.Draw(tile)
    for number, line in enumerate(shown.caption):
        draw.text((0, number * LINE_PIXELS), line, fill=DIM if number else WHITE, font=style.font)
    left = 0
    for number, plane in enumerate(shown.planes):
        panel = _panel(plane, scale, style, scale_bar=number == 0)
        tile.paste(panel, (left, top + (tallest - panel.height) // 2))
        left += panel.width + GAP
    return tile


def _panel(plane: Plane, scale: float, style: _Style, *, scale_bar: bool) -> Picture.Image:
    """A plane at `scale` pixels per mm. Outlines are found after scaling, so that they are one pixel wide."""
    size = max(1, round(plane.size_mm[1] * scale)), max(1, round(plane.size_mm[0] * scale))
    pixels = np.asarray(Picture.fromarray(plane.pixels).resize(size, Picture.Resampling.BILINEAR).convert("RGB")).copy()
    for concept, mask in plane.marked.items():
        pixels[_outline(mask, size)] = style.colours[concept]
    panel = Picture.fromarray(pixels)
    draw = ImageDraw.Draw(panel)
    middle = (size[1] - FONT_PIXELS) // 2
    for text, place in ((plane.left, 2), (plane.right, size[0] - 2 - round(style.font.getlength(plane.right)))):
        draw.text((place, middle), text, fill=WHITE, font=style.font, stroke_width=1, stroke_fill=BLACK)
    if scale_bar and plane.left:
        _draw_scale_bar(draw, size, scale, style)
    return panel


def _outline(mask: Mask, size: Size) -> Mask:
    """The inner edge of a mask scaled to (width, height); a mask that has got smaller than a pixel keeps one."""
    scaled = np.asarray(Picture.fromarray(mask.astype(np.uint8)).resize(size, Picture.Resampling.NEAREST)) > 0
    if not scaled.any() and mask.any():
        rows, columns = (np.median(indices) for indices in np.nonzero(mask))
        scaled = np.zeros_like(scaled)
        scaled[int(rows * size[1] / mask.shape[0]), int(columns * size[0] / mask.shape[1])] = True
    return cast(Mask, scaled & ~ndimage.binary_erosion(scaled))


def _draw_scale_bar(draw: ImageDraw.ImageDraw, size: Size, scale: float, style: _Style) -> None:
    fitting = [length for length in SCALE_BARS_MM if length * scale <= 0.4 * size[0]]
    if not fitting or size[1] < 3 * LINE_PIXELS:
        return
    bottom = size[1] - 4
    draw.rectangle((3, bottom - 1, 5 + fitting[-1] * scale, bottom + 1), fill=WHITE, outline=BLACK)
    label = f"{fitting[-1]} mm"
    draw.text((4, bottom - LINE_PIXELS - 1), label, fill=WHITE, font=style.font, stroke_width=1, stroke_fill=BLACK)


def _photographs(shown: Sequence[Shown]) -> list[NDArray[np.uint8]]:
    return [plane.pixels for each in shown for plane in each.planes if plane.pixels.ndim == 3]


def _encode(sheet: Picture.Image, greys: int, *, photographs: Sequence[NDArray[np.uint8]]) -> bytes:
    """PNG with a palette: evenly spaced greys, the colours of the legend, and the commonest ones of photographs."""
    palette = [int(level) for level in np.linspace(0, 255, greys).round() for _ in range(3)]
    palette += [part for colour in (DIM, LINE, *CONCEPT_COLOURS) for part in colour]
    if photographs:
        pixels = np.concatenate([photograph.reshape(-1, 3)[::7] for photograph in photographs])
        common = Picture.fromarray(pixels[None]).quantize(COLOURS_OF_PHOTOGRAPHS, Picture.Quantize.MEDIANCUT)
        palette += common.getpalette() or []
    holder = Picture.new("P", (1, 1))
    holder.putpalette(palette)
    stream = io.BytesIO()
    sheet.quantize(palette=holder, dither=Picture.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _draw_intensities(
    panel: Any, modality: str, images: Sequence[Mapping[str, Any]], foreground: Mapping[str, Any] | None
) -> None:
    known = [image["intensity"] for image in images if image["intensity"] is not None]
    for intensity in known:
        histogram = intensity["histogram"]
        shares = np.array(histogram["counts"], float) / max(1, sum(histogram["counts"]))
        edges = np.linspace(histogram["low"], histogram["high"], len(shares) + 1)
        panel.stairs(np.where(shares > 0, shares, np.nan), edges, linewidth=0.9, baseline=None)
    units = sorted({image["unit"] for image in images})
    if foreground is not None:
        for name in ("p0_5", "p50", "p99_5"):
            panel.axvline(foreground[name], color="0.4", linewidth=0.7, linestyle=":" if name != "p50" else "--")
        panel.set_xlabel(f"{', '.join(units)}; lines: 0.5, 50, 99.5 % of {foreground['source']}", fontsize=8)
    if known:
        panel.set_yscale("log")
        panel.set_ylabel("share of voxels", fontsize=8)
    panel.set_title(f"{modality} ({len(images)})" if images else modality, fontsize=9)
    panel.tick_params(labelsize=8)


def _draw_spacings(panel: Any, images: Sequence[Mapping[str, Any]], grids: Mapping[str, Mapping[str, Any]]) -> None:
    for image in images:
        panel.plot([0, 1, 2], image["spacing_mm"], marker="o", markersize=3, linewidth=0.5, color="tab:blue", alpha=0.6)
    for grid in grids.values():
        if grid["spacing_mm"] is not None:
            spacing = grid["spacing_mm"]
            panel.vlines([0, 1, 2], spacing["minimum"], spacing["maximum"], color="0.6", linewidth=1.0)
            panel.plot([0, 1, 2], spacing["median"], linestyle="", marker="_", markersize=14, color="black")
    panel.set_xticks([0, 1, 2], ["z", "y", "x"])
    panel.set_xlim(-0.5, 2.5)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("mm", fontsize=8)
    panel.set_title("voxel spacing; bars: medians", fontsize=9)
    panel.tick_params(labelsize=8)
