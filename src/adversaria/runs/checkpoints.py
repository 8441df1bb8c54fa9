"""Checkpoint files: written whole, read without running what is in them, and only if every byte is as it was written.

A checkpoint is what `torch.save` writes: a zip archive of uncompressed records with a CRC-32 each, one of them a pickle
(PyTorch, "Serialization semantics"). Of that pickle nothing is taken but tensors and plain values.
"""

from __future__ import annotations

import os
import pickle
import pickletools
import re
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from adversaria.config.aliases import up_to_date
from adversaria.core.errors import UserError
from adversaria.core.text import shown
from adversaria.core.types import DataSpec
from adversaria.runs.folder import Run, find_checkpoint

FORMAT_VERSION = 1

#: bytes of the pickle, which holds no numbers of tensors
_LARGEST_PICKLE = 64 * 2**20
#: values in a checkpoint, each as often as it is referred to
_MOST_VALUES = 1_000_000
_DEEPEST = 100
_UNFOLDS = f"unfolds to more than {_MOST_VALUES:,} values or {_DEEPEST} levels, which no checkpoint has"
#: what the pickle may refer to: what rebuilds tensors, and types of values. PyTorch itself allows more, such as
#: ``bytearray``, which takes any amount of memory for a single number
_KNOWN = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch\.storage UntypedStorage"
    r"|torch (\w+Storage|Size|device|b?float(8_\w+|16|32|64)|u?int(8|16|32|64)|bool|complex(64|128))"
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; nothing in the file is run, and its memory is bounded by the file's size.

    Args:
        path: of the file, or of a run's folder (its last checkpoint is taken).

    Returns:
        At least ``config``, ``spec``, ``state_dict``, ``global_step`` and ``images_seen``, each of its type.

    Raises:
        UserError: no checkpoint, cut off or changed since, of a foreign format, with code in it, or without something
            that every checkpoint has.
    """
    path = find_checkpoint(path)
    try:
        with open(path, "rb") as file:
            _check_archive(file)
            file.seek(0)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except _Damaged as damage:
        raise UserError(f"{shown(path)} {damage}; {_way_out(path)}") from damage
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{shown(path)} holds more than tensors and plain values and could run code; it is not loaded"
        ) from error
    except Exception as error:  # made to be wrong, a file can make its readers raise anything
        raise UserError(f"{shown(path)} is cut off or no checkpoint; {_way_out(path)}") from error
    version = checkpoint.get("format_version") if isinstance(checkpoint, dict) else None
    if not isinstance(version, int) or version != FORMAT_VERSION:
        raise UserError(
            f"{shown(path)} has format version {shown(version)}, but this adversaria reads version {FORMAT_VERSION}; "
            "use the adversaria that wrote it"
        )
    content = cast(dict[str, Any], checkpoint)
    try:
        _check_content(content, os.path.getsize(path))
    except _Damaged as damage:
        raise UserError(f"{shown(path)} {damage}; {_way_out(path)}") from damage
    content["config"] = up_to_date(content["config"])
    return content


class _Damaged(Exception):
    """What is wrong with a file, said of it."""


def _check_archive(file: IO[bytes]) -> None:
    """Raises _Damaged unless ``file`` is a zip archive of uncompressed records that are as they were written."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise _Damaged("is no regular file")
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        unpacked = sum(record.file_size for record in records)
        # Compressed, or one over the other, they could come to any size.
        if unpacked > status.st_size or any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise _Damaged(f"unpacks to {unpacked:,} bytes, more than the {status.st_size:,} that it has")
        if (damaged := archive.testzip()) is not None:
            raise _Damaged(f"is damaged: its record {shown(damaged)} is not what was written (CRC-32)")
        for record in records:
            if record.filename.lower().endswith(".pkl"):  # PyTorch's reader takes either case
                _check_pickle(record, archive)


def _check_pickle(record: zipfile.ZipInfo, archive: zipfile.ZipFile) -> None:
    """Raises UnpicklingError if a pickle refers to anything but tensors and plain values.

    The values that it would build are counted on the way, as a reader's stack holds them: a tuple of tuples that are
    one and the same unfolds when it is hashed to be the key of a mapping, which may never end.

    Raises:
        _Damaged: they are more than any checkpoint has.
    """
    if record.file_size > _LARGEST_PICKLE:
        raise _Damaged(f"has {record.file_size:,} bytes beside its tensors, which no checkpoint has")
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for opcode, argument, _ in pickletools.genops(archive.read(record)):
        if opcode.name == "GLOBAL" and not _KNOWN.fullmatch(str(argument)):
            raise pickle.UnpicklingError(str(argument))
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
            continue
        if opcode.name == "MARK":
            marks.append(len(stack))
            continue
        before, after = opcode.stack_before, opcode.stack_after
        marked = pickletools.markobject in before
        bottom = marks.pop() - before.index(pickletools.markobject) if marked else len(stack) - len(before)
        size = memo[argument] if opcode.name in ("GET", "BINGET", "LONG_BINGET") else 1 + sum(stack[bottom:])
        if size > _MOST_VALUES:
            raise _Damaged(_UNFOLDS)
        stack[bottom:] = [size] * len(after)


def _check_content(checkpoint: Mapping[str, Any], size: int) -> None:
    """Raises _Damaged if something is missing, of another type, or would take more memory than the file has bytes."""
    for key, (fits, what) in _PARTS.items():
        if key not in checkpoint:
            if key in _OPTIONAL:
                continue
            raise _Damaged(f"has no {key}, which every checkpoint has")
        if not fits(checkpoint[key]):
            raise _Damaged(f"has a {key} that is not {what}")
    # Views of one storage could come to any size once they are copied; networks share a weight at times.
    if _bytes_of_tensors(checkpoint) > 4 * size:
        raise _Damaged("has tensors that are larger than the file")
    try:
        DataSpec.arguments_of(checkpoint["spec"])
        _check_modality(checkpoint["spec"])
    except Exception as error:  # tensors, for one, compare in ways of their own
        raise _Damaged("has a spec that describes no data") from error


def _check_modality(spec: Mapping[str, Any]) -> None:
    """Raises ValueError unless a modality is named, by plain values; whether it may be is asked by who builds it."""
    named = isinstance(spec["modality"], dict) and isinstance(spec["modality"].get("_target_"), str)
    if not (named or isinstance(spec["modality"], str)):
        raise ValueError("modality")
    pending = [spec["modality"], spec.get("value_range")]  # of version 0.1, which named it by a word
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            pending += value.values() if isinstance(value, dict) else value
        elif not isinstance(value, str | int | float | None):
            raise ValueError("modality")


def _bytes_of_tensors(root: Any) -> int:
    """Of all tensors in ``root``, each as often as it is referred to."""
    total, count = 0, 0
    pending = [(root, 0)]
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > _MOST_VALUES or depth > _DEEPEST:
            raise _Damaged(_UNFOLDS)
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()
        elif isinstance(value, Mapping):
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list | tuple | set):
            pending += [(item, depth + 1) for item in value]
    return total


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _are_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _are_tensors_or_none(value: Any) -> bool:
    return value is None or _are_tensors(value)


def _is_record(value: Any) -> bool:
    """Whether it is a list of what `adversaria.training.rollback` notes."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("detector", "evidence"))
        and all(_is_count(entry.get(key)) for key in ("step", "to_step"))
        and all(isinstance(entry.get(key), int | float) for key in ("rate_factor", "penalty_factor"))
        for entry in value
    )


#: what a checkpoint consists of, and how one knows it
_PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "config": (_is_config, "a mapping of names to values"),
    "spec": (_is_config, "a mapping of names to values"),
    "state_dict": (_are_tensors, "a mapping of names to tensors"),
    "global_step": (_is_count, "a number of updates"),
    "images_seen": (_is_count, "a number of images"),
    "ema": (_are_tensors_or_none, "a mapping of names to tensors"),
    "ema_encoder": (_are_tensors_or_none, "a mapping of names to tensors"),
    "rollbacks": (_is_record, "a list of rollbacks"),
}
_OPTIONAL = ("ema", "ema_encoder", "rollbacks")


def _way_out(path: Path) -> str:
    """What the user can do instead of reading the checkpoint at ``path``."""
    folder = Run(path.parent.parent)
    others = [other for other in (folder.last, folder.best, *sorted(path.parent.glob("step_*.ckpt"))) if other != path]
    names = ", ".join(shown(other.name) for other in others if other.parent == path.parent and other.is_file())
    return f"take another checkpoint beside it ({names})" if names else "take another checkpoint, or train again"
