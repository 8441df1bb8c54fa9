"""How samples become files: block by block, whole or not at all, and nothing is added to what is there."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.files import replacing
from adversaria.core.text import as_file_name, shown
from adversaria.core.types import DataSpec
from adversaria.modalities.pictures import picture, save_picture

#: pixels of a picture, beyond which no viewer opens it
_LARGEST_PICTURE = 2**27
_OURS = re.compile(r"\d{5,}(_class\d+[^/]*)?\.png")


@dataclass(frozen=True)
class Drawn:
    """Samples to be written.

    Attributes:
        count: how many.
        blocks: the samples in their order, ``[n, *spec.shape]`` at a time, on the CPU in the spec's value range.
        labels: of all of them; None for an unconditional model.
        spec: of the samples.
        columns: how many a row of a grid has (None: as it comes).
        captions: what stands above the columns of a grid, if anything does.
    """

    count: int
    blocks: Iterator[Tensor]
    labels: list[int] | None
    spec: DataSpec
    columns: int | None = None
    captions: list[str] | None = None


@dataclass(frozen=True)
class Writer:
    """A format of files: what writes it, how names end, and what it does not take."""

    write: Callable[[Drawn, Path], None]
    suffix: str
    images_only: bool = False


def check_room(form: str, count: int, spec: DataSpec, out: Path) -> None:
    """Refuses what could not be written, before anything is drawn.

    Args:
        form: one of `WRITERS`.
        count: of the samples.
        spec: of them.
        out: the file or folder.

    Raises:
        UserError: the format is for images alone, the picture would be too large, or the disk has no room.
    """
    if WRITERS[form].images_only and spec.modality != "image":
        raise UserError(f"format={form} is for images, and this model makes points; take format=grid or format=npz")
    size = count * int(np.prod(spec.shape))
    if form == "grid" and size > _LARGEST_PICTURE:
        raise UserError(
            f"count={count} samples of {'x'.join(map(str, spec.shape))} are too many for one picture; take format=npz,"
            " format=png or fewer"
        )
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    needed, free = size * (1 if spec.modality == "image" else 4), shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"count={count} samples take up to {needed / 2**30:,.1f} GiB, and {shown(there)} has {free / 2**30:,.1f}"
            " GiB left; give a smaller count or another out"
        )


def _write_grid(drawn: Drawn, out: Path) -> None:
    images = drawn.spec.modality == "image"
    samples = torch.cat([drawn.spec.to_uint8(block) if images else block for block in drawn.blocks])
    save_picture(out, picture(samples, drawn.spec, drawn.columns, drawn.captions))


def _write_png(drawn: Drawn, out: Path) -> None:
    digits = max(5, len(str(drawn.count - 1)))
    names = drawn.spec.class_names
    i = 0
    with _folder(out) as folder:
        for block in drawn.blocks:
            for image in drawn.spec.to_uint8(block):
                label = "" if drawn.labels is None else f"_class{drawn.labels[i]}"
                if drawn.labels is not None and names and names[drawn.labels[i]] != str(drawn.labels[i]):
                    label += f"_{as_file_name(names[drawn.labels[i]])}"
                save_picture(folder / f"{i:0{digits}d}{label}.png", image)
                i += 1


def _write_npz(drawn: Drawn, out: Path) -> None:
    images = drawn.spec.modality == "image"
    shape = (*drawn.spec.shape[1:], drawn.spec.shape[0]) if images else drawn.spec.shape
    with replacing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy" if images else "points.npy", "w", force_zip64=True) as member:
            kind = np.dtype(np.uint8 if images else np.float32)
            _npy_header(member, (drawn.count, *shape), kind)
            for block in drawn.blocks:
                rows = drawn.spec.to_uint8(block).permute(0, 2, 3, 1) if images else block.float()
                member.write(np.ascontiguousarray(rows.numpy(), dtype=kind).tobytes())
        if drawn.labels is not None:
            _add(archive, "labels", np.asarray(drawn.labels, dtype=np.int64))
            if drawn.spec.class_names:
                _add(archive, "class_names", np.asarray(drawn.spec.class_names, dtype=np.str_))


def _npy_header(file: IO[bytes], shape: tuple[int, ...], kind: np.dtype[np.generic]) -> None:
    npy.write_array_header_1_0(
        file, {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": tuple(map(int, shape))}
    )


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    with archive.open(f"{name}.npy", "w") as member:
        npy.write_array(member, array, allow_pickle=False)


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A new folder to fill, which becomes ``out`` at the end of the block; after an error there is none.

    Images of an earlier call make room for these; anything else there is left alone.

    Raises:
        UserError: ``out`` is a file or a link, or holds files that no earlier call has written.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"out={shown(out)} is a file or a link; name a new folder")
    if out.is_dir() and (other := next((f for f in out.iterdir() if not _OURS.fullmatch(f.name)), None)):
        raise UserError(
            f"{shown(out)} holds other files ({shown(other.name)}), to which samples are never added; name a new folder"
            " with out=..."
        )
    fresh, old = (out.with_name(f".{out.name}.{token_hex(8)}.{what}") for what in ("tmp", "old"))
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if out.is_dir():
            out.rename(old)
        fresh.rename(out)
    except OSError as error:
        error.filename = str(out)  # nobody knows the other name
        raise
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)


#: by the name that ``format=`` has
WRITERS: dict[str, Writer] = {
    "grid": Writer(_write_grid, ".png"),
    "png": Writer(_write_png, "", images_only=True),
    "npz": Writer(_write_npz, ".npz"),
}
