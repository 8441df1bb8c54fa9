"""Labels that lie beside the images in a ``dataset.json``, as StyleGAN's tool for preparing data sets writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.data.archives.tree import Tree
from adversaria.data.images.found import find_images
from adversaria.data.images.layout import Layout, arrange
from adversaria.data.images.pixels import extensions

NAME = "dataset.json"
#: ImageNet-21k has 21,841; a far larger number is no class, and its networks would not fit into any memory
LARGEST_CLASS = 99_999


def layout_of(tree: Tree, where: str) -> Layout:
    """The layout of a folder or archive: by its ``dataset.json`` if it has one, else by its folders.

    With that file, made by the ``dataset_tool.py`` of Karras et al. (StyleGAN2-ADA, StyleGAN3), the folders around
    the images only number them, and ``{"labels": [["00000/img00000000.png", 6], ...]}`` names the class of each; with
    ``{"labels": null}`` there are none. All images are for training.

    Args:
        tree: the files.
        where: their place, for messages.

    Raises:
        UserError: as `layout.arrange`; or the file is damaged, has no label for an image, or labels that are no
            classes.
    """
    named = [name for name in tree.names() if name.rsplit("/", 1)[-1] == NAME]
    found = find_images(tree, named)
    images = found.images
    if not images:
        raise UserError(
            f"data.root={shown(where)} holds no images ({', '.join(sorted(extensions()))}): is it the right folder?"
            + "".join(f" ({note})" for note in found.notes())
        )
    # Whatever folders lie around everything, it is about all images.
    path = next((name for name in named if all(image.startswith(name.removesuffix(NAME)) for image in images)), None)
    content = None if path is None else _read(tree, path, where)
    if path is None or content is None:
        return arrange(images, where, found.notes())
    prefix = path.removesuffix(NAME)
    splits = {"train": len(images)}
    if content["labels"] is None:
        return Layout(images, splits, None, None, found.notes())
    classes = _classes(content["labels"], where)
    labels = []
    for name in images:
        if (label := classes.get(name.removeprefix(prefix))) is None:
            raise UserError(
                f"data.root={where}: {shown(path)} has no label for {shown(name)}; write it again for these images"
            )
        labels.append(label)
    class_names = [str(label) for label in range(max(labels) + 1)]
    absent = len(classes) - len(images)
    notes = found.notes()
    if absent:
        notes.append(f"{absent:,} labels in {shown(path)} are of images that are not there")
    return Layout(images, splits, np.array(labels, dtype=np.int64), class_names, notes)


def _read(tree: Tree, path: str, where: str) -> Mapping[str, Any] | None:
    """The file's content; None if it is about something else."""
    (file,) = tree.files({path})
    try:
        content = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"data.root={where}: {shown(path)} is no valid JSON ({shown(error)}); remove it or write it again"
        ) from error
    return content if isinstance(content, dict) and "labels" in content else None


def _classes(labels: Any, where: str) -> dict[str, int]:
    """The class of each name."""
    classes: dict[str, int] = {}
    for entry in labels if isinstance(labels, list) else [labels]:
        match entry:
            case [str(name), int(label)] if 0 <= label <= LARGEST_CLASS and not isinstance(label, bool):
                classes[name.replace("\\", "/")] = label
            case _:
                raise UserError(
                    f"data.root={where}: {NAME} has the label {shown(entry, 60)}, but a label is a name and a class"
                    f" from 0 to {LARGEST_CLASS}; write the class numbers into it"
                )
    return classes
