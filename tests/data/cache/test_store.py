"""The cache is built once, however many processes ask for it, and a build that was killed goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adversaria.data.cache import record
from adversaria.data.images import pixels as images
from adversaria.data.images.folder import ImageFolder

Make = Callable[..., ImageFolder]
Draw = Callable[..., None]
COUNT = 100

#: decodes a folder; leaves a byte in a log for every image, and dies at one of them, once there is a record
BUILD = """
import os, signal, sys, time
from adversaria.data.cache import record
from adversaria.data.images import pixels as images
from adversaria.data.images.folder import ImageFolder
root, log, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
record._EVERY = 40
decode, calls = images.decode, []
descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def counting(data, size=None, white=None):
    os.write(descriptor, b".")
    calls.append(1)
    if len(calls) == last:
        while not list(photos.cache_folder.glob(f".*.tmp/{record.NAME}")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, size)
images.decode = counting
os.sched_getaffinity = lambda _: {0}
photos = ImageFolder(name="photos", root=root, size=None, channels=1, fit="crop", mirror=False, batch_size=1,
                     storage="disk", num_workers=0, cache_dir=None, limit=None, seed=0)
photos.prepare()
print(photos.identity("train")["content"])
"""


def no_locks(*_: object, **__: object) -> None:
    """Of a file system that knows no locks."""
    raise NotImplementedError


@pytest.fixture
def photos(tmp_path: Path, draw: Draw) -> Path:
    for k in range(COUNT):
        draw(tmp_path / f"photos/{k:03}.png", k)
    return tmp_path / "photos"


def start(photos: Path, log: Path, last: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, str(photos), str(log), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_start_together_build_once(photos: Path, tmp_path: Path) -> None:
    both = [start(photos, tmp_path / "log") for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    # All once, and one of them to learn the size.
    assert len((tmp_path / "log").read_bytes()) == COUNT + 1


def test_a_killed_build_goes_on(photos: Path, folder: Make, tmp_path: Path) -> None:
    killed = start(photos, tmp_path / "log", last=75)
    assert killed.wait() == -signal.SIGKILL
    assert not list((tmp_path / "cache").glob("[!.]*"))
    before = len((tmp_path / "log").read_bytes())
    again = start(photos, tmp_path / "log")
    content, errors = again.communicate()
    assert again.returncode == 0, errors
    # Two chunks of 32 were on record.
    assert len((tmp_path / "log").read_bytes()) - before == COUNT - 64
    data = folder(photos, channels=1)
    data.prepare()
    assert data.split("train").samples[:, 0, 0, 0].tolist() == list(range(COUNT))
    (entry,) = (tmp_path / "cache").glob("[!.]*")
    assert sorted(path.name for path in entry.iterdir()) == ["meta.json", "samples.u8"]
    assert not list((tmp_path / "cache").glob(".*.tmp"))
    fresh = folder(photos, channels=1, cache_dir=str(tmp_path / "other"))
    fresh.prepare()
    assert content.strip() == data.identity("train")["content"] == fresh.identity("train")["content"]


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, BaseException], None]:
    """``cut_off(n, error)``: decoding the n-th image raises; every chunk is put on record."""
    monkeypatch.setattr(record, "_EVERY", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    decode = images.decode

    def at(last: int, error: BaseException) -> None:
        calls: list[int] = []

        def counting(data: bytes, size: int | None = None, white: int | None = None) -> Image.Image:
            calls.append(1)
            if len(calls) == last:
                raise error
            return decode(data, size)

        monkeypatch.setattr(images, "decode", counting)

    return at


def test_unreadable_images_before_the_cut_are_remembered(
    tmp_path: Path, folder: Make, draw: Draw, cut_off: Callable[[int, BaseException], None]
) -> None:
    for k in range(250):
        draw(tmp_path / f"photos/{k:03}.png", k)
    (tmp_path / "photos/010.png").write_bytes(b"no image")
    cut_off(200, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        folder(tmp_path / "photos", channels=1).prepare()
    assert list((tmp_path / "cache").glob(".*.tmp"))
    cut_off(0, KeyboardInterrupt())
    data = folder(tmp_path / "photos", channels=1)
    data.prepare()
    assert data.split("train").samples[:, 0, 0, 0].tolist() == [k for k in range(250) if k != 10]
    assert "1 unreadable images are left out" in data.description()


def test_nothing_is_kept_where_there_are_no_locks(
    photos: Path,
    tmp_path: Path,
    folder: Make,
    cut_off: Callable[[int, BaseException], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    cut_off(90, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        folder(photos, channels=1).prepare()
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def test_a_changed_folder_starts_over(
    tmp_path: Path, photos: Path, folder: Make, draw: Draw, cut_off: Callable[[int, BaseException], None]
) -> None:
    cut_off(90, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        folder(photos, channels=1).prepare()
    draw(photos / "000.png", 255)
    cut_off(0, KeyboardInterrupt())
    data = folder(photos, channels=1)
    data.prepare()
    assert data.split("train").samples[:, 0, 0, 0].tolist() == [255, *range(1, COUNT)]


def test_late_colour_starts_over_whatever_is_on_record(
    tmp_path: Path, photos: Path, folder: Make, cut_off: Callable[[int, BaseException], None]
) -> None:
    Image.new("RGB", (6, 6), (1, 2, 3)).save(photos / "098.png")
    cut_off(70, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        folder(photos).prepare()
    cut_off(0, KeyboardInterrupt())
    data = folder(photos)
    data.prepare()
    assert data.spec.shape == (3, 6, 6)
    assert np.array_equal(data.split("train").samples[[0, 97, 98], 0, 0], [[0, 0, 0], [97, 97, 97], [1, 2, 3]])


def test_a_failure_leaves_nothing(
    tmp_path: Path, photos: Path, folder: Make, cut_off: Callable[[int, BaseException], None]
) -> None:
    for k in range(90, 95):
        (photos / f"{k:03}.png").write_bytes(b"no image")
    cut_off(0, KeyboardInterrupt())
    with pytest.raises(Exception, match="unreadable"):
        folder(photos, channels=1).prepare()
    assert not list((tmp_path / "cache").glob(".*.tmp"))
    assert os.path.exists(tmp_path / "cache")
