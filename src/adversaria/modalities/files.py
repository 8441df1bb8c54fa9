"""How samples become files: block by block, whole or not at all, and nothing is added to what is there."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import IO

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.files import replacing
from adversaria.core.modality import Drawn, Shown, Writer
from adversaria.core.text import as_file_name, shown
from adversaria.modalities.pictures import save_picture

_OURS = re.compile(r"\d{5,}(_class\d+[^/]*)?\.png")


def picture_writer(show: Callable[[Drawn], Shown]) -> Writer:
    """One PNG of all samples, as ``show`` draws them."""
    return Writer(lambda drawn, out: save_picture(out, show(drawn).picture), ".png", together=True)


def images_writer() -> Writer:
    """A folder with a PNG of each sample, for those that are stored as uint8 ``[N, C, H, W]``."""
    return Writer(_write_images, "")


def npz_writer(name: str, arrange: Callable[[Tensor], Tensor] = lambda stored: stored) -> Writer:
    """One .npz with the samples as they are stored, and their labels and the classes' names where there are any.

    Args:
        name: of the array of samples in it.
        arrange: brings ``stored [n, ...]`` into the order of dimensions in which the file has them.
    """
    return Writer(lambda drawn, out: _write_npz(drawn, out, name, arrange), ".npz")


def _write_images(drawn: Drawn, out: Path) -> None:
    digits = max(5, len(str(drawn.count - 1)))
    names = drawn.class_names
    i = 0
    with filled_folder(out, not_named(_OURS)) as folder:
        for block in drawn.blocks:
            for image in block:
                label = "" if drawn.labels is None else f"_class{drawn.labels[i]}"
                if drawn.labels is not None and names and names[drawn.labels[i]] != str(drawn.labels[i]):
                    label += f"_{as_file_name(names[drawn.labels[i]])}"
                save_picture(folder / f"{i:0{digits}d}{label}.png", image)
                i += 1


def _write_npz(drawn: Drawn, out: Path, name: str, arrange: Callable[[Tensor], Tensor]) -> None:
    arrays = (arrange(block).numpy() for block in drawn.blocks)
    with replacing(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        first = next(arrays)  # says which type and shape they all have
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            _npy_header(member, (drawn.count, *first.shape[1:]), first.dtype)
            for array in chain([first], arrays):
                member.write(np.ascontiguousarray(array).tobytes())
        if drawn.labels is not None:
            _add(archive, "labels", np.asarray(drawn.labels, dtype=np.int64))
            if drawn.class_names:
                _add(archive, "class_names", np.asarray(drawn.class_names, dtype=np.str_))


def _npy_header(file: IO[bytes], shape: tuple[int, ...], kind: np.dtype[np.generic]) -> None:
    npy.write_array_header_1_0(
        file, {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": tuple(map(int, shape))}
    )


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    with archive.open(f"{name}.npy", "w") as member:
        npy.write_array(member, array, allow_pickle=False)


def not_named(ours: re.Pattern[str]) -> Callable[[Path], Iterable[str]]:
    """For `filled_folder`: everything is another's that is not named so."""
    return lambda folder: (file.name for file in folder.iterdir() if not ours.fullmatch(file.name))


@contextmanager
def filled_folder(out: Path, others: Callable[[Path], Iterable[str]]) -> Iterator[Path]:
    """A new folder to fill, which becomes ``out`` at the end of the block; after an error there is none.

    Files of an earlier call make room for these; anything else there is left alone.

    Args:
        out: the folder; those above it are made.
        others: names of what lies in a folder and is no file of an earlier call, as `not_named` gives them.

    Raises:
        UserError: ``out`` is a file or a link, or holds files that no earlier call has written.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"out={shown(out)} is a file or a link; name a new folder")
    if out.is_dir() and (other := next(iter(others(out)), None)):
        raise UserError(
            f"{shown(out)} holds other files ({shown(other)}), to which nothing is ever added; name a new folder "
            "with out=..."
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
