"""Images that a user names by a path alone: a folder, an archive, or arrays in a .npy or .npz file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adversaria.core.arrays import read_member, stated_bytes
from adversaria.core.errors import UserError
from adversaria.core.machine import memory_limit
from adversaria.core.ranges import Side, Width
from adversaria.core.text import as_file_name, shown
from adversaria.core.types import DataSpec
from adversaria.data.images.doubts import doubts
from adversaria.data.images.folder import ImageFolder
from adversaria.data.images.labels import LARGEST_CLASS
from adversaria.data.images.pixels import Pixels, fit, pixels
from adversaria.data.module import DataModule, Loaded
from adversaria.data.storage import Split
from adversaria.modalities import Image as ImageModality

#: names of the images' and of the labels' array in a .npz, ours first, then those that NumPy gives nameless ones
_IMAGES, _LABELS = ("images", "samples", "arr_0"), ("labels", "arr_1")


class ImageArrays(DataModule):
    """The images of a .npy or .npz file, as they are: ``[N, H, W, C]``, ``[N, C, H, W]`` or ``[N, H, W]``, uint8.

    A .npz names them ``images`` (as ``python sample.py format=npz`` does), ``samples`` or ``arr_0``, and may hold
    ``labels [N]``. Nothing in the file is executed.

    Args:
        name: for reports and fingerprints.
        root: the file.
        size: to which the largest centred square of each is resized; None: as they are.
        channels: 1 (grey) or 3 (RGB); None: as they are.
    """

    def __init__(self, *, name: str, root: str, size: Side | None = None, channels: Width | None = None) -> None:
        super().__init__(name=name, batch_size=1, storage="memory", num_workers=0, seed=0)
        self.root, self.size, self.channels = Path(root).expanduser(), size, channels
        self._where = f"data.root={shown(self.root)}"

    def load(self) -> Loaded:
        """Reads the file.

        Raises:
            UserError: it is missing, damaged, or holds no such images.
        """
        arrays = self._read()
        images = self._fitted(self._channels_last(next((arrays[name] for name in _IMAGES if name in arrays), None)))
        labels = self._labels(next((arrays[name] for name in _LABELS if name in arrays), None), len(images))
        count, height, width, channels = images.shape
        classes = None if labels is None else [str(k) for k in range(int(labels.max()) + 1)]
        notes = doubts(Split(images, labels), classes)
        spec = DataSpec((channels, height, width), None if classes is None else len(classes), ImageModality())
        digest = hashlib.sha256(images.tobytes())
        digest.update(b"" if labels is None else labels.tobytes())
        identity: dict[str, str | int] = {
            "dataset": self.name,
            "split": "train",
            "count": count,
            "size": height if height == width else f"{height}x{width}",
            "channels": channels,
            "fit": "resize" if self.size is None else "crop",  # as of a folder
            "content": digest.hexdigest(),
        }
        return Loaded(spec, {"train": Split(images, labels)}, {"train": identity}, classes, notes)

    def _read(self) -> Mapping[str, NDArray[Any]]:
        """The arrays that are used, once their headers are known to state no more than there is and memory holds."""
        try:
            if not zipfile.is_zipfile(self.root):
                # Mapped: a header that states more than the file holds then fails, instead of taking memory.
                return {"images": np.load(self.root, mmap_mode="r", allow_pickle=False)}
            with zipfile.ZipFile(self.root) as archive:
                stored = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                wanted = [next((n for n in names if n in stored), None) for names in (_IMAGES, _LABELS)]
                return {name: self._array(archive, stored[name]) for name in wanted if name is not None}
        except UserError:
            raise
        except FileNotFoundError as error:
            place = "" if self.root.is_absolute() else f" in {shown(Path.cwd())}"
            raise UserError(f"{self._where} does not exist{place}: give an existing file") from error
        except Exception as error:  # whatever zipfile, its decompressors and NumPy make of damaged bytes
            raise UserError(f"{self._where} is damaged or no array file ({shown(error)}): write it again") from error

    def _array(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
        limit = memory_limit() // 2
        nbytes = stated_bytes(archive, info)
        if nbytes > limit:
            raise UserError(
                f"{self._where} unpacks to {nbytes / 2**30:,.1f} GiB, more than half of the memory "
                f"({2 * limit / 2**30:,.1f} GiB): give a folder of images, or fewer"
            )
        return read_member(archive, info)

    def _channels_last(self, images: NDArray[Any] | None) -> Pixels:
        """``[N, H, W, C]`` with C of 1 or 3."""
        if images is None:
            raise UserError(f"{self._where} holds no array named images: save one with numpy.savez(images=...)")
        if images.dtype != np.uint8:
            whole = images.dtype.kind != "f" or bool(np.isfinite(images).all())
            problem = f"values of type {images.dtype}" if whole else "NaN or infinite values"
            raise UserError(
                f"{self._where} holds {problem}, whose range nobody can know: save uint8 images of 0 to 255"
            )
        if images.ndim == 3:
            images = images[..., None]
        elif images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
            images = images.transpose(0, 2, 3, 1)
        if images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
            raise UserError(
                f"{self._where} holds an array of shape {list(images.shape)}: images are [N, H, W, C] with 1 or"
                " 3 channels"
            )
        return np.ascontiguousarray(images)

    def _fitted(self, images: Pixels) -> Pixels:
        """``images [N, H, W, C]`` at the size and with the channels that are wanted."""
        channels = self.channels or images.shape[3]
        if (self.size, self.size, channels) in (images.shape[1:], (None, None, images.shape[3])):
            return images
        pictures = (Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in images)
        return np.stack([pixels(fit(picture, self.size, "crop"), channels) for picture in pictures])

    def _labels(self, labels: NDArray[Any] | None, count: int) -> NDArray[np.int64] | None:
        if labels is None:
            return None
        if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise UserError(
                f"{self._where} holds labels of shape {list(labels.shape)} and type {labels.dtype}: give one"
                f" class number for each of {count} images"
            )
        if labels.max() > LARGEST_CLASS:
            raise UserError(
                f"{self._where} holds the label {labels.max()}: classes are numbers from 0 to {LARGEST_CLASS}"
            )
        return labels.astype(np.int64)


def images_at(
    path: str, *, key: str, cache_dir: str | None = None, size: int | None = None, channels: int | None = None
) -> DataModule:
    """The images at ``path``, decoded as they are: all of one size, grey only if all are.

    Args:
        path: a folder, an archive, a .npy or a .npz.
        key: what the user wrote before the path, for messages.
        cache_dir: see `ImageData`.
        size: to which the largest centred square of each is resized; None: as they are.
        channels: 1 (grey) or 3 (RGB); None: as they are.

    Raises:
        UserError: nothing there, no images, images of several sizes, damaged files, and the like.
    """
    data: DataModule
    stem = as_file_name(Path(path).resolve().name.partition(".")[0])
    name = f"{key}-{stem}"  # never that of a data set with its own classifier
    if Path(path).suffix in (".npy", ".npz"):
        data = ImageArrays(name=name, root=path, size=size, channels=channels)
    else:
        data = ImageFolder(
            name=name,
            root=path,
            size=size,
            channels=channels,
            fit="resize" if size is None else "crop",
            mirror=False,
            batch_size=1,
            storage="memory",
            num_workers=0,
            cache_dir=cache_dir,
            limit=None,
            seed=0,
        )
    try:
        data.prepare()
    except UserError as error:
        raise UserError(str(error).replace("data.root=", f"{key}=")) from error
    return data
