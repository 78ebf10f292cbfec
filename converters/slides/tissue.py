"""Where there is tissue on a slide: a coarse mask for choosing tiles, not a segmentation.

Stained tissue is coloured and glass is not: saturation (as in HSV) above the threshold of Otsu (1979), which is kept
within bounds, since it halves the noise of an empty slide and the tissue of a full one. Left out are padding and black
marker (dark), and green and blue marker (hues that neither haematoxylin and eosin nor DAB have). Red marker stays.
Of other channels than RGB: what differs from the rim of the picture by more than Otsu's threshold, in any channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.slides.overview import block_means

Mask = NDArray[np.bool_]
Values = NDArray[np.float32]

# Of a pixel of the mask.
WANTED_MICRONS = 8.0
LEAST_SIDE = 64
# Saturations of 0..255: glass stays below the first, and pale tissue lies above the second.
LEAST_SATURATION = 14.0
MOST_SATURATION = 45.0
# Darker than this in every colour is padding or black ink: haematoxylin is never as dark at this scale.
BLACK = 45.0
GREEN_EXCESS = 10.0
BLUE_EXCESS = 20.0
INK_SATURATION = 90.0
# Pixels of the mask; fewer together are dust.
LEAST_PIXELS = 8
# Standard deviations of the rim that a signal must exceed; a median absolute deviation is 0.6745 of one.
SIGNAL = 5.0
DEVIATION = 1.4826
BINS = 256
LARGEST_THUMBNAIL = 1024


def mask_factor(shape: tuple[int, int], microns_per_pixel: float | None) -> int:
    """By how much an overview (y, x) is reduced for the mask: to about 8 micrometres where its pixel size is known."""
    factor = 1
    while (
        microns_per_pixel is not None
        and microns_per_pixel * factor * 2**0.5 < WANTED_MICRONS
        and min(shape) >= 2 * factor * LEAST_SIDE
    ):
        factor *= 2
    return factor


def tissue_of_colours(pixels: Values, white: float) -> Mask:
    """pixels: (3, y, x) RGB of 0..white -> (y, x)."""
    red, green, blue = pixels = pixels * np.float32(255 / white)
    brightest, darkest = pixels.max(axis=0), pixels.min(axis=0)
    saturation = 255 * (brightest - darkest) / np.maximum(brightest, 1)
    black = brightest < BLACK
    green_ink = (green - np.maximum(red, blue) > GREEN_EXCESS) & (saturation > INK_SATURATION / 2)
    blue_ink = (green - red > BLUE_EXCESS) & (blue - green > 0) & (saturation > INK_SATURATION)
    ink = black | green_ink | blue_ink
    # Ink and padding blur into their neighbours.
    kept = ~ndimage.binary_dilation(ink)
    smooth = ndimage.median_filter(np.where(kept, saturation, 0), size=3, mode="nearest")
    threshold = np.clip(otsu(saturation[kept]), LEAST_SATURATION, MOST_SATURATION)
    return _without_dust((smooth > threshold) & kept)


def tissue_of_channels(pixels: Values) -> Mask:
    """pixels: (c, y, x) of any range -> (y, x)."""
    mask = np.zeros(pixels.shape[1:], np.bool_)
    for channel in np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0):
        smooth = ndimage.median_filter(channel, size=3, mode="nearest")
        rim = np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
        ground = np.median(rim)
        difference = np.abs(smooth - ground)
        noise = DEVIATION * np.median(np.abs(rim - ground))
        mask |= difference > max(otsu(difference), SIGNAL * noise)
    return _without_dust(mask)


def otsu(values: Values) -> float:
    """The threshold that parts values into two classes with the largest variance between them.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66, on a histogram of 256 bins. Of equally good ones the
    middle; of one value or none that value, or zero.
    """
    if values.size == 0 or values.min() == values.max():
        return float(values.min()) if values.size else 0.0
    counts, edges = np.histogram(values.astype(np.float64), BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    sums = np.cumsum(counts * centres)
    means_below, means_above = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means_below - means_above) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


def thumbnail_of(pixels: Values, is_rgb: bool, largest: float) -> NDArray[np.uint8]:
    """(c, y, x) -> (y, x, 3), at most 1,024 pixels a side. largest: of the numbers that mean white in RGB.

    Of other channels each is stretched from its lowest to its 99.5th percentile, and their mean is shown as grey.
    """
    factor = 1
    while max(pixels.shape[1:]) > LARGEST_THUMBNAIL * factor:
        factor *= 2
    small = np.nan_to_num(block_means(pixels, factor), nan=0.0, posinf=0.0, neginf=0.0)
    if is_rgb:
        shown = small / largest
    else:
        low = small.min(axis=(1, 2), keepdims=True)
        high = np.percentile(small, 99.5, axis=(1, 2), keepdims=True)
        grey = np.clip((small - low) / np.where(high > low, high - low, 1), 0, 1).mean(axis=0, keepdims=True)
        shown = np.repeat(grey, 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8), 0, -1))


def _without_dust(mask: Mask) -> Mask:
    numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if not count:
        return mask
    sizes = np.bincount(numbered.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    kept: Mask = (sizes >= LEAST_PIXELS)[numbered]
    return kept
