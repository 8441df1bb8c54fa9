"""A folder of images becomes a verified cache entry, once."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adversaria.core.errors import UserError
from adversaria.data.images import pixels as images
from adversaria.data.images.folder import ImageFolder

Make = Callable[..., ImageFolder]
Draw = Callable[..., None]


def no_locks(*_: object, **__: object) -> None:
    """Of a file system that knows no locks."""
    raise NotImplementedError


@pytest.fixture
def pets(tmp_path: Path, draw: Draw) -> Path:
    root = tmp_path / "pets"
    for index in range(4):
        draw(root / f"train/cat/{index}.png", index)
    for index in range(3):
        draw(root / f"train/dog/{index}.png", 100 + index)
    draw(root / "test/dog/0.png", 200)
    return root


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, decoding an image is an error."""

    def fail(*_: object) -> None:
        raise AssertionError("an image is decoded again")

    return lambda: monkeypatch.setattr(images, "decode", fail)


def entry(tmp_path: Path) -> Path:
    (place,) = [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]
    return place


def test_rows_labels_and_names_belong_together(pets: Path, folder: Make):
    data = folder(pets)
    data.prepare()
    train, test = data.split("train"), data.split("test")
    assert train.samples.shape == (7, 6, 6, 1)
    assert train.samples[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 100, 101, 102]
    assert train.labels is not None
    assert train.labels.tolist() == [0] * 4 + [1] * 3
    assert test.samples[:, 0, 0, 0].tolist() == [200]
    assert (data.class_names, data.class_counts) == (["cat", "dog"], [4, 3])
    assert (data.spec.shape, data.spec.num_classes, data.spec.value_range) == ((1, 6, 6), 2, (-1.0, 1.0))
    assert data.description() == "photos: 7 train and 1 test images of 1x6x6, 2 classes: cat 4, dog 3"


def test_one_class_for_all_is_visible(tmp_path: Path, folder: Make, draw: Draw):
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            draw(tmp_path / "wrong" / split / "images" / kind / "1.png")
    data = folder(tmp_path / "wrong")
    data.prepare()
    assert "1 class: images 2" in data.description()
    assert "wrong level" in data.description()


def test_identity_is_plain_and_tells_contents_apart(pets: Path, folder: Make):
    data, resized = folder(pets), folder(pets, size=4)
    data.prepare()
    resized.prepare()
    identity = data.identity("train")
    assert json.loads(json.dumps(identity)) == identity
    assert (identity["dataset"], identity["split"], identity["count"]) == ("photos", "train", 7)
    contents = {identity["content"], data.identity("test")["content"], resized.identity("train")["content"]}
    assert len(contents) == 3


def test_channels_follow_the_data(tmp_path: Path, folder: Make, draw: Draw):
    draw(tmp_path / "mixed/a.png", 7)
    for index in range(50):
        draw(tmp_path / f"mixed/b{index}.png", index)
    Image.new("RGB", (6, 6), (1, 2, 3)).save(tmp_path / "mixed/z.png")
    mixed, forced = folder(tmp_path / "mixed"), folder(tmp_path / "mixed", channels=1)
    mixed.prepare()
    forced.prepare()
    assert mixed.spec.shape == (3, 6, 6)
    assert mixed.split("train").samples[0, 0, 0].tolist() == [7, 7, 7]
    assert mixed.split("train").samples[-1, 0, 0].tolist() == [1, 2, 3]
    assert forced.spec.shape == (1, 6, 6)


def test_images_of_many_sizes_need_a_size(tmp_path: Path, folder: Make, draw: Draw):
    draw(tmp_path / "sizes/a.png")
    Image.new("L", (9, 5)).save(tmp_path / "sizes/b.png")
    with pytest.raises(UserError, match=r"set data\.size"):
        folder(tmp_path / "sizes").prepare()
    data = folder(tmp_path / "sizes", size=5)
    data.prepare()
    assert data.spec.shape == (1, 5, 5)


def test_the_second_start_decodes_and_writes_nothing(
    pets: Path, folder: Make, no_decoding: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    first = folder(pets)
    first.prepare()
    no_decoding()
    monkeypatch.setattr("adversaria.data.cache.store.locked", lambda _: pytest.fail("the cache is written to"))
    second = folder(pets.rename(pets.with_name("moved")))
    second.prepare()
    assert second.identity("train") == first.identity("train")
    assert np.array_equal(second.split("train").samples, first.split("train").samples)


def test_a_changed_file_is_noticed(pets: Path, folder: Make, draw: Draw):
    folder(pets).prepare()
    draw(pets / "train/cat/0.png", 77)
    data = folder(pets)
    data.prepare()
    assert data.split("train").samples[0, 0, 0, 0] == 77


def flip(path: Path, where: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: cut(place / "samples.u8"),
        lambda place: (place / "samples.u8").write_bytes((place / "samples.u8").read_bytes() + b"x"),
        lambda place: cut(place / "labels.npy"),
        lambda place: cut(place / "meta.json"),
        lambda place: (place / "labels.npy").unlink(),
        lambda place: (place / "meta.json").unlink(),
        lambda place: (place / "meta.json").write_text("[]"),
        lambda place: flip(place / "samples.u8"),
        lambda place: flip(place / "labels.npy"),
        lambda place: flip(place / "meta.json", -9),
        lambda place: np.save(place / "labels.npy", np.zeros(3, np.int64)),
        lambda place: (place / "meta.json").write_text((place / "meta.json").read_text().replace("crop", "pad")),
    ],
)
def test_a_damaged_entry_is_made_again(
    pets: Path, folder: Make, tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    folder(pets).prepare()
    damage(entry(tmp_path))
    with caplog.at_level(logging.WARNING):
        data = folder(pets)
        data.prepare()
    assert "made again" in caplog.text
    assert data.split("train").samples[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 100, 101, 102]
    assert len(list((tmp_path / "cache").glob("[!.]*"))) == 1
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def test_an_interrupted_build_leaves_no_entry(
    pets: Path, folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("adversaria.data.cache.store._sync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder(pets).prepare()
    assert all(path.suffix == ".lock" for path in (tmp_path / "cache").iterdir())
    folder(pets).prepare()


def test_what_a_killed_process_left_is_removed(pets: Path, folder: Make, tmp_path: Path):
    folder(pets).prepare()
    place = entry(tmp_path)
    place.rename(place.with_name(f".{place.name}.0123.tmp"))
    folder(pets).prepare()
    assert not list((tmp_path / "cache").glob("*.tmp"))
    assert entry(tmp_path) == place


def test_two_builders_at_once_do_no_harm(pets: Path, folder: Make):
    both = [folder(pets), folder(pets)]
    threads = [threading.Thread(target=data.prepare) for data in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both[0].identity("train") == both[1].identity("train")


def test_two_builders_without_a_lock_do_no_harm(pets: Path, folder: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("filelock.FileLock.acquire", no_locks)
    other = folder(pets)
    move = images.decode

    def meanwhile(data: bytes, size: int | None = None, white: int | None = None) -> Image.Image:
        monkeypatch.setattr(images, "decode", move)
        other.prepare()  # another process finishes first
        return move(data, size)

    monkeypatch.setattr(images, "decode", meanwhile)
    data = folder(pets)
    data.prepare()
    assert data.identity("train") == other.identity("train")


def with_corrupt(root: Path, draw: Draw, good: int, bad: int) -> Path:
    for index in range(good):
        draw(root / f"{index:04}.png", index % 256)
    for index in range(bad):
        path = root / f"{2 * index + 1:04}_broken.png"
        draw(path)
        path.write_bytes(path.read_bytes()[:40])
    return root


def test_few_corrupt_images_are_named_and_left_out(
    tmp_path: Path, folder: Make, draw: Draw, caplog: pytest.LogCaptureFixture
):
    data = folder(with_corrupt(tmp_path / "photos", draw, good=198, bad=2))
    data.prepare()
    assert "0001_broken.png" in caplog.text
    assert "0003_broken.png" in caplog.text
    assert data.split("train").samples[:, 0, 0, 0].tolist() == list(range(198))
    assert "2 unreadable images are left out" in data.description()


def test_labels_and_splits_close_ranks_around_a_corrupt_image(tmp_path: Path, folder: Make, draw: Draw):
    root = tmp_path / "photos"
    for index in range(60):
        draw(root / f"train/a/{index:02}.png", index)
        draw(root / f"train/b/{index:02}.png", 100 + index)
    draw(root / "test/a/0.png", 99)
    draw(root / "test/b/0.png", 199)
    (root / "train/a/30.png").write_bytes(b"no picture")
    data = folder(root)
    data.prepare()
    for which, count in (("train", 119), ("test", 2)):
        split = data.split(which)
        assert len(split) == count
        assert split.labels is not None
        assert split.labels.tolist() == (split.samples[:, 0, 0, 0] >= 100).astype(int).tolist()


def test_many_corrupt_images_are_refused(tmp_path: Path, folder: Make, draw: Draw):
    with pytest.raises(UserError, match=r"2 of 199 images are unreadable.*0001_broken\.png"):
        folder(with_corrupt(tmp_path / "photos", draw, good=197, bad=2)).prepare()
    assert not list((tmp_path / "cache").glob("[!.]*"))


def test_limit_takes_nested_subsets_with_their_labels(pets: Path, folder: Make):
    subsets = []
    for limit in (2, 5, 7):
        data = folder(pets, limit=limit)
        data.prepare()
        train = data.split("train")
        assert len(train) == limit
        assert train.labels is not None
        values = train.samples[:, 0, 0, 0]
        assert train.labels.tolist() == (values >= 100).astype(int).tolist()
        assert sum(data.class_counts or []) == limit
        subsets.append(set(values.tolist()))
    assert subsets[0] < subsets[1] < subsets[2]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, r"data\.size=0"),
        ({"size": -3}, r"data\.size=-3"),
        ({"size": 100_000}, r"data\.size=100000"),
        ({"channels": 2}, r"data\.channels=2"),
        ({"fit": "squeeze"}, r"data\.fit=squeeze"),
        ({"batch_size": 0}, r"data\.batch_size=0"),
        ({"batch_size": 8}, r"data\.batch_size=8 is larger than the 7"),
        ({"storage": "cloud"}, r"data\.storage=cloud"),
        ({"num_workers": -1}, r"data\.num_workers=-1"),
        ({"limit": 0}, r"data\.limit=0"),
        ({"limit": 8}, r"data\.limit=8"),
        ({"root": None}, r"data\.root is null"),
        ({"root": "nowhere"}, r"data\.root=nowhere does not exist"),
        ({"size": 5, "fit": "pad"}, r"data\.fit=pad"),
    ],
)
def test_wrong_options_give_a_sentence(pets: Path, folder: Make, options: dict[str, object], sentence: str):
    with pytest.raises(UserError, match=sentence):
        folder(**{"root": pets, **options}).prepare()


def test_an_empty_folder_and_a_missing_split_give_a_sentence(tmp_path: Path, folder: Make, draw: Draw):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        folder(tmp_path / "empty").prepare()
    draw(tmp_path / "flat/1.png")
    data = folder(tmp_path / "flat")
    data.prepare()
    assert data.class_counts is None
    with pytest.raises(UserError, match="no test split"):
        data.split("test")


def test_a_cache_that_cannot_be_written_gives_a_sentence(pets: Path, folder: Make, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"data\.cache_dir=.*file"):
        folder(pets, cache_dir=str(tmp_path / "file")).prepare()


def test_a_full_disk_gives_a_sentence(pets: Path, folder: Make, monkeypatch: pytest.MonkeyPatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(UserError, match="GiB free"):
        folder(pets).prepare()
