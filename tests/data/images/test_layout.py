from __future__ import annotations

import pytest

from adversaria.core.errors import UserError
from adversaria.data.images.layout import arrange


def test_class_folders_with_train_and_test():
    layout = arrange(["x/test/dog/5.jpg", "x/train/dog/1.jpg", "x/train/cat/2.jpg", "x/train/cat/1.PNG"], "x")
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
    assert any("2 images of val/ are left out" in note for note in layout.notes)


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
        (["testing/1.jpg", "unlabeled/2.jpg"], "no images for training"),
        (["train/a/1.jpg", "test/b/1.jpg"], "no such class"),
        (["train/a/1.jpg", "test/1.jpg"], "no such class"),
    ],
)
def test_what_cannot_be_used_gives_a_sentence(names: list[str], sentence: str):
    with pytest.raises(UserError, match=rf"data\.root=here.*{sentence}"):
        arrange(names, "here")


SPLITS = [
    ("train", "test"),
    ("Training", "Testing"),
    ("TRAIN", "Val"),
    ("train_set", "validation"),
    ("x_train", "x_test"),
]


@pytest.mark.parametrize(("train", "test"), [*SPLITS, ("train2017", "val2017"), ("training", "eval")])
@pytest.mark.parametrize("around", ["", "x/y/"])
def test_splits_are_known_by_the_names_of_public_data_sets(train: str, test: str, around: str):
    layout = arrange([f"{around}{split}/{k}/1.jpg" for split in (train, test) for k in "01"], "x")
    assert (layout.splits, layout.class_names) == ({"train": 2, "test": 2}, ["0", "1"])
    assert layout.notes == []


@pytest.mark.parametrize("stray", ["preview.png", "unlabeled/1.png", "Unlabelled/9/1.png", "zoo/a/1.png"])
@pytest.mark.parametrize("around", ["", "x/"])
def test_what_lies_beside_splits_is_left_out_and_counted(stray: str, around: str):
    names = [f"{around}{split}/{k}/1.png" for split in ("train", "test") for k in "ab"]
    layout = arrange([*names, around + stray], "x")
    assert (layout.splits, layout.class_names) == ({"train": 2, "test": 2}, ["a", "b"])
    (note,) = layout.notes
    assert note.startswith("1 image ")
    assert note.endswith("is left out")


def test_a_stray_image_far_above_the_splits_changes_nothing():
    names = [f"x/y/{split}/{k}/1.png" for split in ("train", "test") for k in "ab"]
    layout = arrange([*names, "preview.png", "x/preview.png"], "x")
    assert (layout.splits, layout.class_names) == ({"train": 2, "test": 2}, ["a", "b"])
    assert layout.notes == ["2 images beside train/ and test/ are left out"]


@pytest.mark.parametrize("beside", ["unlabeled/1.png", "preview.png"])
def test_a_training_folder_alone_is_a_split_where_nothing_else_is_a_class(beside: str):
    layout = arrange(["train/a/1.png", "train/b/1.png", beside], "x")
    assert (layout.splits, layout.class_names) == ({"train": 2}, ["a", "b"])
    assert len(layout.notes) == 1


def test_splits_within_class_folders_are_splits():
    layout = arrange(
        [f"{k}/{split}/{i}.png" for k in ("cat", "dog") for split in ("train", "test") for i in range(2)], "x"
    )
    assert (layout.splits, layout.class_names) == ({"train": 4, "test": 4}, ["cat", "dog"])
    assert all("/train/" in name for name in layout.names[:4])
    assert layout.labels is not None
    assert layout.labels.tolist() == [0, 0, 1, 1] * 2


def test_numbers_are_in_numeric_order_and_text_is_not():
    assert arrange([f"{k}/1.png" for k in range(12)], "x").class_names == [str(k) for k in range(12)]
    assert arrange(["2/1.png", "10/1.png", "a/1.png"], "x").class_names == ["10", "2", "a"]


def test_class_names_can_be_shown():
    layout = arrange(["caf\udce9/1.png", "\x1b[2Jred/1.png"], "x")
    assert layout.class_names == ["\\x1b[2Jred", "caf\\xe9"]
    assert layout.names[1] == "caf\udce9/1.png"


def test_test_images_alone_are_trained_on_with_a_note() -> None:
    layout = arrange([f"data/test/{k}.png" for k in range(4)], "x")
    assert layout.splits == {"train": 4}
    assert layout.notes == ["test/ is all there is: its images are for training"]
