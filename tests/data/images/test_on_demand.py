"""Images decoded whenever they are used are those of the cache; what is read, and how often."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data import storage
from adversaria.data.images import pixels as images
from adversaria.data.images.folder import ImageFolder
from adversaria.data.mapped import place_of, read_ahead
from adversaria.data.storage import choose

CPU = torch.device("cpu")
FORK = multiprocessing.get_context("fork") if "fork" in multiprocessing.get_all_start_methods() else None
Make = Callable[..., ImageFolder]
Draw = Callable[..., None]


@pytest.fixture
def pets(tmp_path: Path, draw: Draw) -> Path:
    for index in range(5):
        draw(tmp_path / f"pets/train/cat/{index}.png", index)
        draw(tmp_path / f"pets/train/dog/{index}.png", 100 + index)
    draw(tmp_path / "pets/test/dog/0.png", 200)
    return tmp_path / "pets"


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often each file was decoded in this process."""
    counts: Counter[bytes] = Counter()
    decode = images.decode

    def counted(data: bytes, size: int | None = None, white: int | None = None) -> Image.Image:
        counts[data] += 1
        return decode(data, size)

    monkeypatch.setattr(images, "decode", counted)
    return counts


def prepared(data: ImageFolder) -> ImageFolder:
    data.prepare()
    return data


@pytest.mark.parametrize("options", [{}, {"size": 4}, {"channels": 3}, {"limit": 4}])
def test_files_hold_what_the_cache_holds(pets: Path, folder: Make, options: dict[str, object]):
    mapped, files = prepared(folder(pets, **options)), prepared(folder(pets, storage="files", **options))
    assert files.spec == mapped.spec
    assert files.description() == mapped.description()
    for which in ("train", "test"):
        one, other = files.split(which), mapped.split(which)
        assert one.samples.shape == other.samples.shape
        assert one.samples.nbytes == other.samples.nbytes
        assert np.array_equal(np.array(one.samples), other.samples)
        assert one.labels is not None
        assert other.labels is not None
        assert one.labels.tolist() == other.labels.tolist()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("place", ["disk", "files"])
def test_the_order_is_the_same_with_and_without_workers(pets: Path, folder: Make, place: str, num_workers: int):
    data = prepared(folder(pets, storage=place, num_workers=num_workers))
    batches = itertools.islice(data.loader(1, 1, 2, 3, CPU), 6)
    for step, batch in enumerate(batches, start=1):
        expected = data.reals(step, 1, 2, 3)
        assert torch.equal(batch.samples, expected.samples)
        assert torch.equal(batch.labels, expected.labels)


def test_each_file_is_decoded_once_per_epoch(pets: Path, folder: Make, decodes: Counter[bytes]):
    data = prepared(folder(pets, storage="files", size=6, channels=1))
    decodes.clear()
    for _ in itertools.islice(data.loader(0, 0, 1, 5, CPU), 4):
        pass
    assert sorted(decodes.values()) == [2] * 10  # 2 epochs of 10 files, and none of the test split


def test_the_cache_decodes_each_file_once_for_all_epochs(pets: Path, folder: Make, decodes: Counter[bytes]):
    data = prepared(folder(pets, storage="disk", size=6, channels=1))
    for _ in itertools.islice(data.loader(0, 0, 1, 5, CPU), 4):
        pass
    assert sorted(decodes.values()) == [1] * 11


@pytest.mark.skipif(FORK is None, reason="needs fork")
def test_processes_that_start_together_decode_once(
    pets: Path, folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    decode = images.decode

    def noted(data: bytes, size: int | None = None, white: int | None = None) -> Image.Image:
        with (tmp_path / "decoded").open("a") as file:
            file.write(".")
        return decode(data, size)

    monkeypatch.setattr(images, "decode", noted)
    assert FORK is not None
    ranks = [FORK.Process(target=folder(pets, size=6, channels=1).prepare) for _ in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert [rank.exitcode for rank in ranks] == [0, 0, 0]
    assert (tmp_path / "decoded").read_text() == "." * 11


@pytest.mark.skipif(FORK is None, reason="needs fork")
def test_a_build_that_is_killed_leaves_nothing_that_counts(
    pets: Path, folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert FORK is not None
    with monkeypatch.context() as patched:
        patched.setattr("adversaria.data.cache.store._sync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        builder = FORK.Process(target=folder(pets).prepare)
        builder.start()
        builder.join()
    assert builder.exitcode == -signal.SIGKILL
    assert list((tmp_path / "cache").glob(".*.tmp"))
    assert not list((tmp_path / "cache").glob("[!.]*"))
    data = prepared(folder(pets))
    assert data.split("train").samples[:, 0, 0, 0].tolist() == [*range(5), *range(100, 105)]
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def test_what_files_cannot_do_gives_a_sentence(pets: Path, folder: Make, tmp_path: Path, draw: Draw):
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(pets, ".")
    with pytest.raises(UserError, match=r"data\.storage=files.*unpack"):
        prepared(folder(tmp_path / "pets.tar", storage="files"))
    Image.new("RGB", (6, 6)).save(pets / "train/dog/3.png")
    with pytest.raises(UserError, match=r"train/dog/3\.png has colours.*data\.channels=3"):
        prepared(folder(pets, storage="files")).reals(0, 0, 1, 10)
    (pets / "train/dog/3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"train/dog/3\.png is unreadable"):
        prepared(folder(pets, storage="files")).reals(0, 0, 1, 10)


@pytest.mark.parametrize("place", ["disk", "files"])
def test_a_worker_that_is_not_forked_gets_no_pixels(tmp_path: Path, folder: Make, draw: Draw, place: str):
    for index in range(50):
        draw(tmp_path / f"photos/{index:02}.png", index)
    data = prepared(folder(tmp_path / "photos", storage=place, size=64, channels=3))  # 614 kB of pixels
    rows = storage._Rows(data.split("train"))
    sent = pickle.dumps(rows)
    assert len(sent) < 10_000
    wanted = np.array([3, 49, 0])
    assert torch.equal(pickle.loads(sent)[wanted].samples, rows[wanted].samples)


def test_a_mapped_view_knows_its_place_and_reads_ahead_within_it(pets: Path, folder: Make):
    for which, count in (("train", 10), ("test", 1)):
        samples = prepared(folder(pets)).split(which).samples
        place = place_of(samples)
        assert place is not None
        assert place.shape[0] == count
        assert np.array_equal(place.map(), samples)
        for rows in (slice(None), slice(0, 0), slice(0, 99), np.array([0, -1]), np.array([], np.int64)):
            read_ahead(samples, rows)
    assert place_of(np.zeros(3)) is None
    assert place_of(samples[:, ::2]) is None
    read_ahead(np.zeros(3), slice(None))


def test_the_automatic_choice_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(storage, "memory_limit", lambda: 8 * 2**30)
    with caplog.at_level("INFO"):
        assert choose("auto", 2**30, CPU, processes=1) == "memory"
        assert choose("auto", 2**30, CPU, processes=4) == "disk"
    assert "in memory: 1.0 GiB, at most a quarter of the 8.0 GiB that a process has" in caplog.messages[0]
    assert "in a memory map on disk: 1.0 GiB, more than a quarter of the 2.0 GiB of memory" in caplog.messages[1]
