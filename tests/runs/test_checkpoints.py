"""A checkpoint is read as it was written or not at all, whatever the file is."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.runs.checkpoints import read_checkpoint

WHOLE = Path(__file__).parents[1] / "stored" / "dcgan" / "checkpoints" / "last.ckpt"


def content() -> dict[str, Any]:
    return torch.load(WHOLE, weights_only=True)


def put(folder: Path, value: Any) -> Path:
    torch.save(value, folder / "changed.ckpt")
    return folder / "changed.ckpt"


def packed_again(folder: Path, change: Callable[[str, bytes], bytes] = lambda name, data: data, **options: Any) -> Path:
    """The records of a whole checkpoint in a new archive, with what ``change`` makes of each."""
    path = folder / "packed.ckpt"
    with zipfile.ZipFile(WHOLE) as old, zipfile.ZipFile(path, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_a_whole_one_is_read_and_so_is_one_packed_by_another_writer(tmp_path: Path) -> None:
    for path in (WHOLE, packed_again(tmp_path)):
        checkpoint = read_checkpoint(path)
        assert checkpoint["global_step"] == 8
        assert all(torch.equal(a, content()["state_dict"][name]) for name, a in checkpoint["state_dict"].items())


def test_a_flipped_bit_anywhere_changes_nothing_unnoticed(tmp_path: Path) -> None:
    whole, expected = WHOLE.read_bytes(), read_checkpoint(WHOLE)
    path, noticed = tmp_path / "flipped.ckpt", 0
    for place in range(0, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            checkpoint = read_checkpoint(path)
        except UserError:
            noticed += 1
        else:  # between the records, where nothing is read
            assert checkpoint["config"] == expected["config"]
            assert all(torch.equal(a, expected["state_dict"][n]) for n, a in checkpoint["state_dict"].items())
    assert noticed > 40


@pytest.mark.parametrize("length", [0, 1, 100, 40_000, -1])
def test_one_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "cut.ckpt").write_bytes(WHOLE.read_bytes()[:length])
    with pytest.raises(UserError, match=r"cut\.ckpt is cut off or no checkpoint"):
        read_checkpoint(tmp_path / "cut.ckpt")


@pytest.mark.parametrize("key", ["config", "spec", "state_dict", "global_step", "images_seen"])
def test_a_missing_part_and_one_of_another_type_are_named(tmp_path: Path, key: str) -> None:
    whole = content()
    with pytest.raises(UserError, match=f"has no {key}"):
        read_checkpoint(put(tmp_path, {k: v for k, v in whole.items() if k != key}))
    for wrong in (None, "word", -1, True, [1], {1: 2}, torch.zeros(3)):
        with pytest.raises(UserError, match=f"has a {key} that is not"):
            read_checkpoint(put(tmp_path, whole | {key: wrong}))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"format_version": torch.ones(2)}, "format version"),
        ({"ema": {"weight": 1}}, "has a ema that is not"),
        ({"rollbacks": [{"step": 1}]}, "has a rollbacks that is not"),
        ({"spec": {"shape": 3}}, "describes no data"),
        ({"spec": content()["spec"] | {"value_range": [torch.zeros(3), 1.0]}}, "describes no data"),
        ({"ema": {"weight": torch.zeros(1).expand(10**12)}}, "larger than the file"),
        ({"config": {str(k): torch.zeros(1) for k in range(3)}, "global_step": 2**70}, "global_step"),
    ],
)
def test_values_that_make_no_sense_are_refused(tmp_path: Path, part: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_checkpoint(put(tmp_path, content() | part))


def test_values_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    value: Any = [0]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(UserError, match="unfolds to more"):
        read_checkpoint(put(tmp_path, content() | {"config": {"deep": value}}))


@pytest.mark.parametrize("record", ["data.pkl", "DATA.PKL"])
def test_tuples_that_unfold_without_end_are_refused_before_they_are_hashed(tmp_path: Path, record: str) -> None:
    doubled = b"".join(b"h%ch%c\x86q%c" % (k, k, k + 1) for k in range(1, 60))
    key_of_a_mapping = b"\x80\x02](" + b")q\x01" + doubled + b"}h\x3cK\x01se."
    path = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(WHOLE) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            folder, _, base = name.rpartition("/")
            is_pickle = base == "data.pkl"
            new.writestr(f"{folder}/{record}" if is_pickle else name, key_of_a_mapping if is_pickle else old.read(name))
    with pytest.raises(UserError, match="unfolds to more"):
        read_checkpoint(path)


def test_compressed_and_overlapping_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unpacks to"):
        read_checkpoint(packed_again(tmp_path, compression=zipfile.ZIP_DEFLATED))
    path = packed_again(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:  # many names for one record
        first = max(archive.infolist(), key=lambda record: record.file_size)
        for k in range(1000):
            archive.filelist.append(other := zipfile.ZipInfo(first.filename + str(k)))
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(other, name, getattr(first, name))
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="unpacks to"):
        read_checkpoint(path)


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "call", [(os.system, "true"), (bytearray, 10**11), (getattr, {}, "get")], ids=lambda c: str(c[0])
)
def test_nothing_is_called_that_a_checkpoint_has_no_use_for(tmp_path: Path, call: tuple[Any, ...]) -> None:
    with pytest.raises(UserError, match="could run code"):
        read_checkpoint(put(tmp_path, content() | {"config": {"x": Calls(*call)}}))
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Calls(*call)))
    with pytest.raises(UserError, match="no checkpoint"):
        read_checkpoint(tmp_path / "bare.ckpt")


def test_the_sentence_names_what_else_there_is_and_shows_odd_names_escaped(tmp_path: Path) -> None:
    folder = tmp_path / "red\x1b[31m" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"no checkpoint")
    (folder / "best.ckpt").write_bytes(WHOLE.read_bytes())
    with pytest.raises(UserError, match=r"best\.ckpt") as refusal:
        read_checkpoint(folder.parent)
    assert "\x1b" not in str(refusal.value)
