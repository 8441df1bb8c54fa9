"""Every picture of a folder or an archive, edited: names, sub-folders, order and sizes stay."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from adversaria.core.errors import UserError
from adversaria.core.files import read_text, write_text
from adversaria.core.text import shown
from adversaria.data.archives.tree import open_tree
from adversaria.data.images import pixels
from adversaria.modalities.files import filled_folder
from adversaria.modalities.pictures import captioned, save_picture

if TYPE_CHECKING:
    from adversaria.sampling.sampler import Edit, Sampler

log = logging.getLogger("adversaria")

#: what a folder of edits says of itself, so that a later call may put others in their place
_RECORD = "edits.json"
_GRID = "edits.png"
#: pictures in the grid, and the side of a cell
_SHOWN, _CELL = 12, 192


def edit_folder(sampler: Sampler, images: Path, out: Path, *, degrade: bool = False, seed: int = 0) -> int:
    """Writes the edit of each picture at ``images`` as a PNG below ``out``, and a grid of the first ones.

    Args:
        sampler: of a model that translates.
        images: a folder, an archive or one file. Where a model fills holes, transparent parts are the holes.
        out: a new folder, or one of an earlier call; it is there whole or not at all.
        degrade: spoils the pictures first as in training, to see what the model makes of it.
        seed: of what is random when pictures are spoiled.

    Returns:
        How many were edited; files that cannot be read are named in the log and left out.

    Raises:
        UserError: there are no pictures, none can be read, ``out`` holds other files, or see `Sampler.edit`.
    """
    if not images.exists():
        raise UserError(f"images={shown(images)} does not exist; give a folder, an archive or a file of pictures")
    single = images.is_file() and images.suffix.lower() in pixels.extensions()
    tree = open_tree(images.parent if single else images)
    found = [name for name in tree.names() if PurePosixPath(name).suffix.lower() in pixels.extensions()]
    names = [images.name] if single else sorted(found)
    if not names:
        raise UserError(
            f"images={shown(images)} holds no pictures; give a folder or an archive of pictures, or one file"
        )
    targets = _targets(names)
    shown_edits: list[Edit] = []
    done = 0
    with (
        filled_folder(out, _others) as folder,
        tqdm(total=len(names), unit="picture", disable=None, leave=False) as bar,
    ):
        for number, file in enumerate(sorted(tree.files(set(names)), key=lambda file: file.name)):
            try:
                picture, known = read(file.read(), sampler.edited_channels)
            except UserError:
                raise
            except Exception as error:  # Pillow's plugins raise anything
                log.warning("%s cannot be read (%s) and is left out", shown(file.name), type(error).__name__)
            else:
                edit = sampler.edit(picture, known, degrade=degrade, seed=seed + number)
                save_picture(folder / targets[file.name], edit.made)
                done += 1
                if len(shown_edits) < _SHOWN:
                    shown_edits.append(edit)
            bar.update()
        if not done:
            raise UserError(f"none of the {len(names)} pictures at images={shown(images)} can be read")
        save_picture(folder / _GRID, grid_of(shown_edits))
        written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        write_text(folder / _RECORD, json.dumps({"files": written}, indent=1))
    return done


def read(data: bytes, channels: int) -> tuple[Tensor, Tensor | None]:
    """A file's picture, uint8 ``[channels, H, W]``, and where it is known, bool ``[1, H, W]`` (None: everywhere)."""
    array = pixels.pixels(pixels.decode(data), channels)
    alpha = pixels.alpha(data)
    known = None if alpha is None else torch.from_numpy(alpha > 127)[None]
    return torch.from_numpy(np.array(array)).permute(2, 0, 1), known


def grid_of(edits: list[Edit]) -> Tensor:
    """uint8 ``[3, H, W]``: in each row what was given, what was made of it and, where it is known, the answer."""
    columns = ["given", "made", *(["answer"] if edits[0].answer is not None else [])]
    rows = [
        torch.cat([_cell(image) for image in (edit.given, edit.made, edit.answer) if image is not None], dim=2)
        for edit in edits
    ]
    return captioned(torch.cat(rows, dim=1), columns)


def _cell(image: Tensor) -> Tensor:
    """uint8 ``[3, side, side]`` of an image ``[C, H, W]``, as large as fits; small ones keep their pixels."""
    picture = Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).numpy())
    scale = (_CELL - 4) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    cell = Image.new("RGB", (_CELL, _CELL), "white")
    cell.paste(picture.resize(size, method), ((_CELL - size[0]) // 2, (_CELL - size[1]) // 2))
    return torch.from_numpy(np.asarray(cell).copy()).permute(2, 0, 1)


def _targets(names: list[str]) -> dict[str, str]:
    """Under which name each file's edit is written; files that differ in their ending alone keep it."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    taken = {stem for stem in stems if stems.count(stem) > 1} | {PurePosixPath(_GRID).stem}
    return {name: f"{name}.png" if stem in taken else f"{stem}.png" for name, stem in zip(names, stems, strict=True)}


def _others(folder: Path) -> Iterator[str]:
    """What lies in ``folder`` and no earlier call says it has written."""
    try:
        files = json.loads(read_text(folder / _RECORD))["files"]
        ours = {*map(str, files), _RECORD}
    except (OSError, UserError, ValueError, TypeError, KeyError):
        ours = set()
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in there)
    return (name for name in names if name not in ours)
