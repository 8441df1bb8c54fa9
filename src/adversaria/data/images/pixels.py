"""One image: from the bytes of a file to uint8 pixels of the wanted size."""

from __future__ import annotations

import io
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from adversaria.core.errors import UserError

Fit: TypeAlias = Literal["crop", "resize", "pad"]
Pixels: TypeAlias = NDArray[np.uint8]

# Pillow can open more, but some of it is no picture to learn from, and EPS runs Ghostscript on the file.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
# Draft decoding may shrink a JPEG in the DCT domain down to this many times the wanted size; the rest is antialiased.
_DRAFT_MARGIN = 4


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read, as this Pillow names them."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@cache
def extensions() -> frozenset[str]:
    """The file name endings of `formats`, in lower case and with the dot."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats())


def decode(data: bytes, size: int | None = None, white: int | None = None) -> Image.Image:
    """The picture in ``data``, upright and opaque, in mode ``L`` (grey) or ``RGB``.

    Orientation follows EXIF. Transparency is composited over white. Values are scaled linearly, ``white`` to 255; of
    grey values with more than 8 bits the picture's ``info`` holds ``deep``. CMYK and palettes become RGB. Of an
    animation the first frame counts.

    Args:
        data: a whole file in one of `formats`.
        size: the side wanted in the end; a much larger JPEG is then decoded at a reduced scale, which is faster.
        white: the stored value that is white, above which all is; None: 255, and 65535 for more than 8 bits.

    Raises:
        Exception: whatever Pillow raises for a damaged file (many types), and ValueError for values out of range and
            for floating-point values that are not finite or have no ``white``.
    """
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats())
    if size is not None:
        image.draft(None, (_DRAFT_MARGIN * size, _DRAFT_MARGIN * size))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "F" or image.mode.startswith("I"):
        return _from_deep(image, white)
    if image.has_transparency_data:
        image = _over_white(image)
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if white is None or white == 255:
        return image
    table = [min(255, (value * 255 + white // 2) // white) for value in range(256)]
    return image.point(table * len(image.getbands()))


def alpha(data: bytes) -> Pixels | None:
    """How opaque each pixel of the picture in ``data`` is, ``[H, W]``, upright; None where all of it is.

    Raises:
        Exception: as `decode`.
    """
    image: Image.Image = Image.open(io.BytesIO(data), formats=formats())
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if not image.has_transparency_data:
        return None
    opacity: Pixels = np.asarray(image.convert("RGBA").getchannel("A"))
    return opacity


def _from_deep(image: Image.Image, white: int | None) -> Image.Image:
    """Grey values of more than 8 bits, or floating-point ones, as bytes."""
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its values are NaN or infinite")
    if white is None and image.mode == "F":
        raise ValueError("its values are floating-point numbers: set data.white to the one that is white")
    if white is None and (values.min() < 0 or values.max() > 65535):
        raise ValueError("its values exceed 16 bits: set data.white to the one that is white")
    scaled = np.floor(np.clip(values * (255 / (white or 65535)) + 0.5, 0, 255))
    picture = Image.fromarray(scaled.astype(np.uint8))
    picture.info["deep"] = True
    return picture


def _over_white(image: Image.Image) -> Image.Image:
    opaque, transparent = ("L", "LA") if image.mode in ("1", "L", "LA", "La") else ("RGB", "RGBA")
    image = image.convert(transparent)
    white = Image.new(opaque, image.size, "white")
    white.paste(image.convert(opaque), mask=image.getchannel("A"))
    return white


def fit(image: Image.Image, size: int | None, how: Fit) -> Image.Image:
    """``image`` at ``size x size`` (None: as it is).

    - ``crop``: the largest centred square, then resized;
    - ``resize``: the whole image, its sides scaled independently;
    - ``pad``: the pixels as they are, centred on black.

    Resizing is bicubic with antialiasing (Parmar et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN
    Evaluation").

    Raises:
        UserError: ``pad`` for an image larger than ``size``.
    """
    if size is None or image.size == (size, size):
        return image
    if how == "pad":
        return _padded(image, size)
    if how == "crop":
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _padded(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if max(width, height) > size:
        raise UserError(
            f"data.size={size} is smaller than an image of {width}x{height}, which data.fit=pad cannot shrink: "
            f"set data.fit=resize or data.fit=crop"
        )
    black = Image.new(image.mode, (size, size))
    black.paste(image, ((size - width) // 2, (size - height) // 2))
    return black


def pixels(image: Image.Image, channels: int) -> Pixels:
    """``[H, W, channels]`` of an image in mode ``L`` or ``RGB``; grey is ITU-R 601 luma, colour of grey repeats it."""
    mode = "L" if channels == 1 else "RGB"
    array: Pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return array.reshape(image.height, image.width, channels)
