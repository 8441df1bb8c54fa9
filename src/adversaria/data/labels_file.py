"""Labels that lie beside the images in a ``dataset.json``, as StyleGAN's tool for preparing data sets writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from adversaria.data.archive import Tree
from adversaria.data.layout import Layout, arrange, image_names
from adversaria.errors import UserError

NAME = "dataset.json"


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
    names = tree.names()
    images = image_names(names)
    found = [name for name in names if name.rsplit("/", 1)[-1] == NAME]
    # Whatever folders lie around everything, it is about all images.
    path = next((name for name in found if all(image.startswith(name.removesuffix(NAME)) for image in images)), None)
    content = None if path is None or not images else _read(tree, path, where)
    if path is None or content is None:
        return arrange(names, where)
    prefix = path.removesuffix(NAME)
    splits = {"train": len(images)}
    if content["labels"] is None:
        return Layout(images, splits, None, None)
    classes = _classes(content["labels"], where)
    labels = []
    for name in images:
        if (label := classes.get(name.removeprefix(prefix))) is None:
            raise UserError(f"data.root={where}: {path} has no label for {name}; write it again for these images")
        labels.append(label)
    class_names = [str(label) for label in range(max(labels) + 1)]
    absent = len(classes) - len(images)
    notes = [f"{absent:,} labels in {path} are of images that are not there"] if absent else []
    return Layout(images, splits, np.array(labels, dtype=np.int64), class_names, notes)


def _read(tree: Tree, path: str, where: str) -> Mapping[str, Any] | None:
    """The file's content; None if it is about something else."""
    (file,) = tree.files({path})
    try:
        content = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        raise UserError(f"data.root={where}: {path} is no valid JSON ({error}); remove it or write it again") from error
    return content if isinstance(content, dict) and "labels" in content else None


def _classes(labels: Any, where: str) -> dict[str, int]:
    """The class of each name."""
    classes: dict[str, int] = {}
    for entry in labels if isinstance(labels, list) else [labels]:
        match entry:
            case [str(name), int(label)] if 0 <= label <= _LARGEST_CLASS and not isinstance(label, bool):
                classes[name.replace("\\", "/")] = label
            case _:
                raise UserError(
                    f"data.root={where}: {NAME} has the label {str(entry)[:60]}, but a label is a name and a class from"
                    f" 0 to {_LARGEST_CLASS}; write the class numbers into it"
                )
    return classes


# ImageNet-21k has 21,841; a far larger number is no class, and its networks would not fit into any memory.
_LARGEST_CLASS = 99_999
