from __future__ import annotations

import pytest

from adversaria.data.layout import arrange
from adversaria.errors import UserError


def test_class_folders_with_train_and_test():
    layout = arrange(
        ["x/test/dog/5.jpg", "x/train/dog/1.jpg", "x/train/cat/2.jpg", "x/train/cat/1.PNG", "x/notes.txt"], "x"
    )
    assert layout.names == ["x/train/cat/1.PNG", "x/train/cat/2.jpg", "x/train/dog/1.jpg", "x/test/dog/5.jpg"]
    assert layout.splits == {"train": 3, "test": 1}
    assert layout.class_names == ["cat", "dog"]
    assert layout.labels is not None
    assert layout.labels.tolist() == [0, 0, 1, 1]
    assert layout.notes == []


def test_class_folders_alone_are_all_for_training():
    layout = arrange(["b/1.jpg", "a/1.jpg"], "x")
    assert (layout.splits, layout.class_names) == ({"train": 2}, ["a", "b"])


@pytest.mark.parametrize("names", [["1.jpg", "2.jpg"], ["photos/1.jpg", "photos/2.jpg"], ["a/b/1.jpg", "a/b/2.jpg"]])
def test_images_without_class_folders_have_no_labels(names: list[str]):
    layout = arrange(names, "x")
    assert (layout.labels, layout.class_names, layout.splits) == (None, None, {"train": 2})


def test_flat_splits_have_no_labels():
    layout = arrange(["train/1.jpg", "val/2.jpg"], "x")
    assert (layout.labels, layout.splits) == (None, {"train": 1, "test": 1})


def test_a_class_may_be_called_train():
    layout = arrange(["train/1.jpg", "car/1.jpg"], "x")
    assert layout.class_names == ["car", "train"]


def test_what_is_left_out_is_said():
    layout = arrange(["train/a/1.jpg", "test/a/1.jpg", "val/a/1.jpg", "val/a/2.jpg"], "x")
    assert layout.splits == {"train": 1, "test": 1}
    assert any("2 images in val/ are left out" in note for note in layout.notes)


def test_a_wrong_folder_level_is_said():
    one_class = arrange(["train/imgs/a/1.jpg", "train/imgs/b/1.jpg", "test/imgs/a/1.jpg"], "x")
    assert one_class.class_names == ["imgs"]
    assert any("one class" in note for note in one_class.notes)
    too_high = arrange(["cifar/cat/1.jpg", "cifar/dog/1.jpg", "mnist/0/1.jpg"], "x")
    assert any("one level too high" in note for note in too_high.notes)
    beside = arrange(["cat/1.jpg", "dog/1.jpg", "preview.jpg"], "x")
    assert beside.labels is None
    assert any("preview.jpg" in note for note in beside.notes)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "holds no images"),
        (["a.txt", "b.csv"], "holds no images"),
        (["train/a/1.jpg", "test/b/1.jpg"], "no such class"),
        (["train/a/1.jpg", "test/1.jpg"], "no such class"),
    ],
)
def test_what_cannot_be_used_gives_a_sentence(names: list[str], sentence: str):
    with pytest.raises(UserError, match=rf"data\.root=here.*{sentence}"):
        arrange(names, "here")
