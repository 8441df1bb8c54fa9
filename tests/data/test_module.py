"""The endless stream of reals: pure, equal for every storage, and what Lightning asks of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from adversaria.core.types import Batch
from adversaria.data.images.named import Digits
from adversaria.data.module import DataModule
from adversaria.data.storage import choose
from adversaria.data.synthetic.points import GaussianMixture, ring

CPU = torch.device("cpu")
Make = Callable[..., Digits]


def first(batches: Iterable[Batch], count: int) -> list[Batch]:
    return list(itertools.islice(batches, count))


def assert_equal(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a.samples, b.samples)
        assert a.samples.stride() == b.samples.stride()
        assert a.labels is not None
        assert b.labels is not None
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize(("storage", "num_workers"), [("memory", 0), ("device", 0), ("disk", 0), ("disk", 2)])
def test_every_storage_gives_the_batches_that_reals_computes(digits: Make, storage: str, num_workers: int):
    data = digits(storage=storage, num_workers=num_workers)
    before = torch.get_rng_state()
    # 7 steps of 2 x 150 cross an epoch of 1,433.
    batches = first(data.loader(start=2, rank=1, world=2, count=150, device=CPU), 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert_equal(batches, [data.reals(step, 1, 2, 150) for step in range(2, 9)])


def test_a_loader_starts_anew_whenever_it_is_iterated(digits: Make):
    loader = digits(storage="memory").loader(0, 0, 1, 10, CPU)
    assert_equal(first(loader, 3), first(loader, 3))
    with pytest.raises(TypeError):
        len(loader)


def test_batches_are_channels_last_rows_with_their_labels(digits: Make):
    data = digits(channels=3)
    samples, labels = data.reals(0, 0, 1, len(data.split("train")))  # one whole epoch
    assert samples.shape == (1433, 3, 8, 8)
    assert samples.dtype == torch.uint8
    assert samples.is_contiguous(memory_format=torch.channels_last)
    train = data.split("train")
    rows = samples.permute(0, 2, 3, 1).numpy()
    seen = sorted((x.tobytes(), int(y)) for x, y in zip(rows, labels, strict=True))
    assert train.labels is not None
    assert seen == sorted((x.tobytes(), int(y)) for x, y in zip(train.samples, train.labels, strict=True))


@pytest.mark.parametrize("indices", [slice(3, 9), range(3, 9), [3, 4, 5, 6, 7, 8], np.arange(3, 9), torch.arange(3, 9)])
def test_a_split_gives_batches_of_any_kind_of_indices(digits: Make, indices: object):
    split = digits().split("test")
    batch = split.batch(indices)
    assert batch.samples.shape == (6, 1, 8, 8)
    assert np.array_equal(batch.samples.permute(0, 2, 3, 1).numpy(), split.samples[3:9])
    assert batch.labels is not None
    assert split.labels is not None
    assert np.array_equal(batch.labels.numpy(), split.labels[3:9])


def trainer(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "global_step": 5,
            "global_rank": 1,
            "world_size": 2,
            "num_devices": 1,
            "lightning_module": SimpleNamespace(batches_per_step=3, rollbacks=[]),
            "strategy": SimpleNamespace(root_device=CPU),
            **changes,
        }
    )


def test_lightning_gets_the_stream_of_its_rank_from_its_step_on(digits: Make):
    data = digits(batch_size=16)
    data.trainer = trainer()
    assert_equal(first(data.train_dataloader(), 2), [data.reals(step, 1, 2, 48) for step in (5, 6)])
    assert len(list(data.val_dataloader())) == 1


class Recorder(LightningModule):
    """Keeps every batch that Lightning hands to a step."""

    batches_per_step = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches: list[Batch] = []
        self.validations = 0

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.batches.append(batch)
        return self.weight.square()

    def validation_step(self, batch: torch.Tensor, _: int) -> None:
        self.validations += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(("kind", "storage"), [("digits", "memory"), ("digits", "disk"), ("points", "memory")])
def test_lightning_sees_the_stream_in_order(digits: Make, kind: str, storage: str, tmp_path: Path):
    data: DataModule
    if kind == "digits":
        data = digits(batch_size=8, storage=storage)
    else:
        options = {"name": "ring8", "sigma": 0.1, "count": 99, "source_seed": 0, "seed": 0}
        modes = ring(number=8, radius=1.0)
        data = GaussianMixture(**options, modes=modes, batch_size=8, storage=storage, num_workers=0)
    system = Recorder()
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_steps=4,
        max_epochs=-1,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(system, datamodule=data)
    assert len(system.batches) == 4
    assert system.validations == 2
    for step, batch in enumerate(system.batches):
        expected = data.reals(step, 0, 1, 16)
        assert torch.equal(batch.samples, expected.samples)
        assert batch.samples.stride() == expected.samples.stride()
        assert (batch.labels is None) == (kind == "points")


def test_prepare_is_idempotent_and_needs_no_trainer(digits: Make, monkeypatch: pytest.MonkeyPatch):
    data = digits()
    monkeypatch.setattr(data, "load", lambda: pytest.fail("loaded again"))
    data.prepare()
    data.prepare_data()
    data.setup("fit")


def test_asking_too_early_says_so():
    data = DataModule(name="x", batch_size=1, storage="auto", num_workers=0, seed=0)
    with pytest.raises(RuntimeError, match="prepare"):
        _ = data.spec


def test_decode_fills_the_value_range_and_keeps_channels_last(digits: Make):
    data = digits(channels=3)
    batch = data.reals(0, 0, 1, 64)
    x, labels = data.decode(batch)
    assert (x.dtype, x.min().item(), x.max().item()) == (torch.float32, -1.0, 1.0)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(data.spec.modality.encode(x), batch.samples)
    assert labels is batch.labels


def test_mirror_flips_about_half_and_follows_the_seed(digits: Make):
    data = digits(mirror=True, channels=3)
    batch = data.reals(0, 0, 1, 400)
    torch.manual_seed(1)
    x, _ = data.decode(batch)
    torch.manual_seed(1)
    again, _ = data.decode(batch)
    assert torch.equal(x, again)
    assert x.is_contiguous(memory_format=torch.channels_last)
    plain = data.spec.modality.decode(batch.samples)
    as_is = (x == plain).flatten(1).all(1)
    flipped = (x == plain.flip(3)).flatten(1).all(1)
    assert (as_is | flipped).all()
    assert 140 < flipped.sum() < 260  # six standard deviations about one half


def test_auto_takes_memory_when_it_has_room_and_else_the_disk():
    assert choose("auto", 1, CPU, processes=1) == "memory"
    assert choose("auto", 2**60, CPU, processes=1) == "disk"
    assert choose("auto", 2**29, CPU, processes=2**30) == "disk"
    assert choose("device", 2**60, CPU, processes=1) == "device"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("storage", ["auto", "device", "memory", "disk"])
def test_a_gpu_sees_the_same_batches(digits: Make, storage: str):
    data = digits(storage=storage, num_workers=1)
    device = torch.device("cuda", 0)
    batches = first(data.loader(3, 0, 1, 400, device), 6)
    assert all(b.samples.is_cuda == (storage in ("auto", "device")) for b in batches)
    assert all(b.samples.is_cuda or b.samples.is_pinned() for b in batches)
    on_cpu = [Batch(b.samples.cpu(), None if b.labels is None else b.labels.cpu()) for b in batches]
    assert_equal(on_cpu, [data.reals(step, 0, 1, 400) for step in range(3, 9)])
