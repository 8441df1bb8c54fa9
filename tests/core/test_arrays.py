from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adversaria.core.arrays import BadFile, content_hash, load_arrays, save_arrays

ARRAYS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array(7)}


def test_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        save_arrays(tmp_path / "sub" / name, ARRAYS, {"of": "test", "n": 3})
    arrays, about = load_arrays(tmp_path / "sub" / "one.npz")
    assert about == {"of": "test", "n": 3}
    assert content_hash(arrays) == content_hash(ARRAYS)
    assert (tmp_path / "sub" / "one.npz").read_bytes() == (tmp_path / "sub" / "two.npz").read_bytes()
    assert len(list((tmp_path / "sub").iterdir())) == 2


def test_every_cut_and_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_arrays(path, ARRAYS, {"of": "test"})
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            load_arrays(path)
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        try:  # a flipped date in the zip header does no harm
            arrays, about = load_arrays(path)
        except BadFile:
            continue
        assert content_hash(arrays) == content_hash(ARRAYS)
        assert about == {"of": "test"}


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("hostile",)


def test_pickles_and_other_files_are_refused(in_tmp: Path) -> None:
    path = in_tmp / "x.npz"
    np.savez(path, about=np.array([Hostile()], dtype=object))
    with pytest.raises(BadFile):
        load_arrays(path)
    assert not Path("hostile").exists()
    np.savez(path, **ARRAYS)
    with pytest.raises(BadFile):
        load_arrays(path)
    with pytest.raises(BadFile):
        load_arrays(in_tmp / "missing.npz")


def test_arrays_that_were_exchanged_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_arrays(path, ARRAYS, {"n": 1})
    with np.load(path) as file:
        np.savez(path, **{**file, "b": np.array(8)})
    with pytest.raises(BadFile, match="changed"):
        load_arrays(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    save_arrays(path, ARRAYS, {"n": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save_arrays(path, ARRAYS, {"n": 2})
    assert load_arrays(path)[1] == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("changed", [{"a": ARRAYS["a"].reshape(4, 3)}, {"a": ARRAYS["a"] + 1}, {"c": ARRAYS["a"]}])
def test_hash_sees_values_shapes_and_names(changed: dict[str, np.ndarray]) -> None:
    assert content_hash(changed) != content_hash({"a": ARRAYS["a"]})
