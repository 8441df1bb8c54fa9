"""Every kind of image file arrives upright, opaque and correctly scaled."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images.pixels import decode, fit, pixels

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp(width: int = 16, height: int = 4) -> np.ndarray:
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def test_grey_keeps_its_values():
    image = decode(saved(Image.fromarray(ramp())))
    assert image.mode == "L"
    assert np.array_equal(pixels(image, 1)[..., 0], ramp())
    assert np.array_equal(pixels(image, 3), np.repeat(ramp()[..., None], 3, axis=2))


def test_bilevel_becomes_black_and_white():
    image = decode(saved(Image.fromarray(ramp() > 127)))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), np.where(ramp() > 127, 255, 0))


def test_rgb_keeps_its_values():
    rgb = np.stack([ramp(), ramp()[:, ::-1], ramp() // 2], axis=2)
    image = decode(saved(Image.fromarray(rgb)))
    assert np.array_equal(pixels(image, 3), rgb)


def test_transparency_is_composited_over_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 255, 51  # black, with nothing, all and a fifth of it to be seen
    assert np.asarray(decode(saved(Image.fromarray(rgba))))[0].tolist() == [[255] * 3, [0] * 3, [204] * 3]
    image = decode(saved(Image.fromarray(rgba[..., 2:])))  # grey and alpha
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[255, 0, 204]]


def palette() -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    return image


def test_palettes_become_rgb_with_and_without_transparency():
    assert np.asarray(decode(saved(palette())))[0].tolist() == [list(RED), list(GREEN), list(BLUE)]
    transparent = decode(saved(palette(), transparency=1))
    assert np.asarray(transparent)[0].tolist() == [list(RED), list(WHITE), list(BLUE)]
    gif = decode(saved(palette(), "GIF", transparency=1))
    assert np.asarray(gif)[0].tolist() == [list(RED), list(WHITE), list(BLUE)]


def test_16_bit_grey_is_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 16).astype(np.uint16)[None]
    for kind in ("PNG", "TIFF"):
        image = decode(saved(Image.fromarray(values), kind))
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.rint(values / 257).astype(np.uint8))


def test_values_beyond_16_bits_are_refused():
    with pytest.raises(ValueError, match="16 bits"):
        decode(saved(Image.fromarray(np.array([[70000]], np.int32)), "TIFF"))
    with pytest.raises(ValueError, match="floating"):
        decode(saved(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF"))


def test_cmyk_jpeg_has_the_right_colours():
    image = decode(saved(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(np.asarray(image)[8, 8].astype(int) - RED).max() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind: str, orientation: int):
    # How a camera turns the upright picture before storing it; the tag tells the reader to turn it back.
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }
    upright = np.zeros((32, 48), np.uint8)
    upright[:16, :16] = 255  # the top left corner is lit
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored[orientation](upright))), kind, exif=exif)
    image = decode(data)
    assert image.size == (48, 32)
    assert np.abs(np.asarray(image).astype(int) - upright).mean() < 3


def test_only_pictures_are_opened():
    eps = saved(Image.new("RGB", (4, 4)), "EPS")  # Pillow would hand it to Ghostscript
    with pytest.raises(OSError, match="cannot identify"):
        decode(eps)


def test_a_large_jpeg_looks_the_same_whether_or_not_it_is_drafted():
    x, y = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128))
    zone_plate = (127.5 + 127.5 * np.cos(50 * (x**2 + y**2))).astype(np.uint8)  # all frequencies, up to fine ones
    data = saved(Image.fromarray(zone_plate), "JPEG", quality=95)
    drafted, full = decode(data, size=16), decode(data)
    assert drafted.width < full.width
    difference = pixels(fit(drafted, 16, "crop"), 3).astype(int) - pixels(fit(full, 16, "crop"), 3)
    assert np.abs(difference).max() <= 4


def test_crop_takes_the_centred_square_and_resize_the_whole_image():
    thirds = np.repeat(np.array([[0, 128, 255]], np.uint8), 8, axis=1).repeat(8, axis=0)  # three 8x8 squares
    image = Image.fromarray(thirds)
    assert np.unique(np.asarray(fit(image, 8, "crop"))).tolist() == [128]
    assert np.unique(np.asarray(fit(image, 4, "crop"))).tolist() == [128]
    whole = np.asarray(fit(image, 12, "resize")).astype(int)
    assert np.abs(whole[0, [1, 5, 10]] - (0, 128, 255)).max() <= 4  # the middles of the thirds, up to ringing
    tall = fit(Image.fromarray(thirds.T), 8, "crop")
    assert np.unique(np.asarray(tall)).tolist() == [128]


@pytest.mark.parametrize("size", [1, 5, 7, 64])
@pytest.mark.parametrize("how", ["crop", "resize"])
def test_any_size_can_be_made_of_any_other(size: int, how: str):
    assert fit(Image.new("RGB", (13, 29)), size, how).size == (size, size)


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    shrunk = np.asarray(fit(Image.fromarray(stripes), 8, "resize")).astype(int)
    assert np.abs(shrunk - 127).max() <= 8  # nearest or plain bicubic neighbours would give black or white


def test_pad_keeps_every_pixel():
    padded = np.asarray(fit(Image.fromarray(ramp(16, 16)), 20, "pad"))
    assert np.array_equal(padded[2:18, 2:18], ramp(16, 16))
    assert padded.sum() == ramp(16, 16).sum()
    with pytest.raises(UserError, match=r"data\.fit=resize"):
        fit(Image.new("L", (30, 10)), 20, "pad")
