"""What ``sample.py`` writes, where, and what it never does."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import adversaria
from adversaria.cli import sample
from adversaria.core.errors import UserError

STORED = Path(__file__).parents[1] / "stored" / "cgan"
NAMES = ["zero", "one", "2", "drei", "../four", "5", "6", "7", "8", "a very long name of a class, longer than a column"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def named(in_tmp: Path) -> str:
    """A conditional checkpoint whose classes have names, in a folder of its own."""
    content = torch.load(STORED / "checkpoints" / "last.ckpt", weights_only=True)
    (in_tmp / "model").mkdir()
    torch.save({**content, "spec": {**content["spec"], "class_names": NAMES}}, in_tmp / "model" / "named.ckpt")
    return str(in_tmp / "model" / "named.ckpt")


def test_classes_go_by_their_names(named: str) -> None:
    sampler = adversaria.load(named)
    assert sampler.spec.class_names == tuple(NAMES)
    assert torch.equal(sampler.sample(4, labels="drei"), sampler.sample(4, labels=3))
    assert torch.equal(sampler.sample(4, labels=["2", 0]), sampler.sample(4, labels=[2, "zero"]))
    for labels, message in (
        ("dry", "did you mean drei"),
        (10, "classes 0 to 9"),
        ("11", "is no class"),
        (True, "True"),
    ):
        with pytest.raises(UserError, match=message):
            sampler.sample(1, labels=labels)


def test_a_number_is_a_number_and_a_text_is_a_name(in_tmp: Path) -> None:
    content = torch.load(STORED / "checkpoints" / "last.ckpt", weights_only=True)
    names = [str(k + 1) for k in range(10)]
    torch.save({**content, "spec": {**content["spec"], "class_names": names}}, in_tmp / "shifted.ckpt")
    sampler = adversaria.load(in_tmp / "shifted.ckpt")
    assert sampler.labels(2) == [2]
    assert sampler.labels("2") == [1]
    assert sampler.described(2) == "3 (class 2)"
    with pytest.raises(UserError, match="the class named 10 is number 9"):
        sampler.labels(10)


def test_a_checkpoint_without_names_is_as_good(named: str) -> None:
    assert adversaria.load(STORED).spec.class_names is None
    assert torch.equal(adversaria.load(STORED).sample(3), adversaria.load(named).sample(3))


@pytest.mark.parametrize("names", [["a"], ["a"] * 11, [1] * 10, "abcdefghij", {"a": 1}])
def test_names_that_are_none_are_refused(in_tmp: Path, names: Any) -> None:
    content = torch.load(STORED / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**content, "spec": {**content["spec"], "class_names": names}}, in_tmp / "odd.ckpt")
    with pytest.raises(UserError, match="spec"):
        adversaria.load(in_tmp / "odd.ckpt")


def test_names_reach_files_cleaned(command: Command, named: str, in_tmp: Path) -> None:
    code, printed, err = command(
        sample, f"checkpoint={named}", "count=10", "format=png", "labels=[drei,4,9]", "out=made"
    )
    assert code == 0, err
    assert "drei (class 3), ../four (class 4)" in printed
    files = sorted(file.name for file in (in_tmp / "made").iterdir())
    assert files[:2] == ["00000_class3_drei.png", "00001_class4_four.png"]
    assert len(files) == 10
    assert sorted(path.name for path in in_tmp.iterdir()) == ["made", "model"]


def test_a_default_name_says_all_that_samples_depend_on(command: Command, named: str) -> None:
    calls = [
        (),
        ("seed=1",),
        ("count=6",),
        ("labels=3",),
        ("labels=drei", "truncation=0.7"),
        ("raw=true",),
        ("standing=2",),
        ("interpolate=3",),
        ("labels=[0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1]",),
    ]
    names = []
    for arguments in calls:
        code, printed, err = command(sample, f"checkpoint={named}", "count=4", *arguments)
        assert code == 0, err
        names.append(next(line.split()[-1] for line in printed.splitlines() if line.startswith("samples")))
    assert len(set(names)) == len(calls)
    assert names[0].endswith("named8_ema_seed0_4.png")
    assert max(len(Path(name).name) for name in names) < 140


def test_a_folder_of_other_images_is_never_added_to(command: Command, named: str, in_tmp: Path) -> None:
    folder = in_tmp / "mine"
    folder.mkdir()
    Image.new("L", (16, 16)).save(folder / "holiday.png")
    code, _, err = command(sample, f"checkpoint={named}", "format=png", "count=3", "out=mine")
    assert code == 2
    assert "holds other files (holiday.png)" in err
    assert [file.name for file in folder.iterdir()] == ["holiday.png"]
    (folder / "holiday.png").unlink()
    for count in (5, 3):
        assert command(sample, f"checkpoint={named}", "format=png", f"count={count}", "out=mine")[0] == 0
        assert len(list(folder.iterdir())) == count  # made anew
    assert sorted(path.name for path in in_tmp.iterdir()) == ["mine", "model"]


def test_blocks_make_what_one_pass_makes(command: Command, named: str, in_tmp: Path) -> None:
    for size in (7, 256):
        assert (
            command(sample, f"checkpoint={named}", "count=20", "format=npz", f"batch_size={size}", f"out={size}.npz")[0]
            == 0
        )
    arrays = np.load(in_tmp / "7.npz", allow_pickle=False)
    assert np.array_equal(arrays["images"], np.load(in_tmp / "256.npz")["images"])
    assert arrays["class_names"].tolist() == NAMES
    sampler = adversaria.load(named)
    expected = sampler.spec.modality.encode(sampler.sample(20)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(arrays["images"], expected)


@pytest.mark.parametrize("form", ["npz", "png", "grid"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"]
)
def test_nothing_half_written_is_left(
    command: Command, named: str, in_tmp: Path, monkeypatch: pytest.MonkeyPatch, form: str, error: BaseException
) -> None:
    original = sample._blocks

    def cut_short(*arguments: Any) -> Iterator[torch.Tensor]:
        yield next(original(*arguments))
        raise error

    monkeypatch.setattr(sample, "_blocks", cut_short)
    code, _, err = command(sample, f"checkpoint={named}", "count=600", f"format={form}", "out=new")
    assert code in (1, 2, 130)
    assert "Traceback" not in err
    assert sorted(path.name for path in in_tmp.iterdir()) == ["model"]


def test_what_could_not_be_written_is_refused_at_once(named: str, tmp_path: Path) -> None:
    spec = adversaria.load(named).spec
    npz, grid = spec.modality.writers["npz"], spec.modality.writers["grid"]
    with pytest.raises(UserError, match=r"has .* GiB left"):
        sample.check_room(npz, 10**15, spec, tmp_path / "x.npz")
    with pytest.raises(UserError, match="too many for one picture; take format=png or format=npz or fewer"):
        sample.check_room(grid, 10**7, spec, tmp_path / "x.png")
    sample.check_room(grid, 10**4, spec, tmp_path / "not" / "there" / "x.png")


@pytest.mark.parametrize("truncation", ["1e-9", "nan", "inf", "true", "-1", "0"])
def test_truncation_has_an_end(command: Command, named: str, truncation: str) -> None:
    code, _, err = command(sample, f"checkpoint={named}", f"truncation={truncation}")
    assert code == 2
    assert err.startswith("error: truncation=")
    with pytest.raises(UserError, match="truncation="):
        adversaria.load(named).sample(1, truncation=True if truncation == "true" else float(truncation))


def test_a_model_that_edits_takes_pictures_and_nothing_about_latents(
    train_run: Callable[..., Any], command: Command, tmp_path: Path
) -> None:
    run = train_run(
        "run",
        *("model=pix2pix", "pairing=denoise", "data=digits", "metrics=none", "data.batch_size=8"),
        *("model.generator.width=4", "model.discriminator.width=4", "callbacks.samples.count=4"),
        *("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_steps=1"),
    )
    images = tmp_path / "holiday" / "beach"
    images.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(images / "a.png")
    (images / "damaged.png").write_bytes(b"no picture")
    where = f"images={tmp_path}/holiday"
    code, out, err = command(sample, f"checkpoint={run.path}", where, "degrade=true")
    assert code == 0, err
    assert "damaged.png cannot be read" in out + err
    with Image.open(next(run.path.glob("edited/*/beach/a.png"))) as edited:
        assert edited.size == (30, 20)
    for given, sentence in (
        ([], "images=FOLDER"),
        ([where, "truncation=0.7"], "truncation=0.7"),
        ([f"{where}/nothing"], "nothing"),
    ):
        code, _, err = command(sample, f"checkpoint={run.path}", *given)
        assert (code, err.count("error: ")) == (2, 1)
        assert sentence in err
    code, _, err = command(sample, f"checkpoint={STORED}", where)
    assert code == 2
    assert "edits no pictures" in err
