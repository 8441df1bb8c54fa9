"""Samples as pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from adversaria.core.files import replacing
from adversaria.core.modality import Drawn, Shown
from adversaria.core.types import DataSpec

#: small images are enlarged by a whole factor, without smoothing, to at least this many pixels
_CELL = 64
#: of a picture of points, as a share of the value range, on each side
_MARGIN = 0.05


def show(samples: Tensor, spec: DataSpec, columns: int | None = None) -> Shown:
    """Samples for the eye.

    Args:
        samples: ``[N, *spec.shape]``, as the networks see them.
        spec: of the data.
        columns: how many a row of the picture has; None: about as many as rows. Of points each row has a colour.
    """
    stored = spec.modality.encode(samples.detach()).cpu()
    return spec.modality.show(Drawn(len(stored), [stored], class_names=spec.class_names, columns=columns))


def save_picture(path: Path, rgb: Tensor) -> None:
    """Writes a uint8 ``[3, H, W]`` or ``[1, H, W]`` picture as PNG, whole or not at all."""
    array = rgb.permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(file, format="PNG")


def grid(images: Tensor, columns: int | None) -> Tensor:
    """uint8 ``images [N, C, H, W]`` in rows of ``columns`` (None: about as many as rows), as one of ``[3, H, W]``."""
    factor = max(1, math.ceil(_CELL / max(images.shape[-2:])))
    images = images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    columns = columns or math.ceil(math.sqrt(len(images)))
    together: Tensor = make_grid(images, nrow=columns, padding=2, pad_value=255)
    return together[:3]


def captioned(picture: Tensor, captions: Sequence[str]) -> Tensor:
    """A uint8 ``picture [3, H, W]`` under a line with a caption in the middle of each of its columns."""
    import matplotlib
    from PIL import ImageDraw, ImageFont

    width = picture.shape[2] / len(captions)
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # knows most alphabets
    size = 14
    while size > 7 and max(ImageFont.truetype(file, size).getlength(text[:40]) for text in captions) > width - 4:
        size -= 1
    font = ImageFont.truetype(file, size)
    strip = Image.new("RGB", (picture.shape[2], size + 8), "white")
    draw = ImageDraw.Draw(strip)
    for k, text in enumerate(captions):
        while text and font.getlength(text) > width - 4:
            text = text[:-1]
        draw.text(((k + 0.5) * width, (size + 8) / 2), text, fill="black", font=font, anchor="mm")
    above = torch.from_numpy(np.asarray(strip).copy()).permute(2, 0, 1)
    return torch.cat([above, picture], dim=1)


def scatter(points: Tensor, value_range: tuple[float, float], columns: int | None) -> Tensor:
    """float32 ``points [N, D]``, their first two coordinates, as one uint8 ``[3, H, W]``.

    Args:
        points: on the CPU; of dimension 1 they lie on a line.
        value_range: of both axes, which show a margin around it: modes at its ends have samples on both sides.
        columns: so many in a row have one colour, the next so many another; None: all have one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = points.numpy()
    if places.shape[1] == 1:
        places = np.pad(places, ((0, 0), (0, 1)))
    low, high = value_range
    margin = _MARGIN * (high - low)
    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")  # which leaves room for the labels, however long
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = None if columns is None else [f"C{row % 10}" for row in np.arange(len(places)) // columns]
    axes.scatter(places[:, 0], places[:, 1], s=6, alpha=0.6, linewidths=0, c=colours)
    axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return torch.from_numpy(np.asarray(Image.open(buffer).convert("RGB")).copy()).permute(2, 0, 1)
