"""The alternating steps: what they compute, how often, and that the fast path computes the same."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning import Trainer

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, Step
from adversaria.data.module import DataModule
from adversaria.modalities import Image, Points
from adversaria.objectives.terms import R1
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system
from adversaria.training.experiment import build_experiment

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "data.batch_size=16",
    "model.generator.width=16",
    "model.discriminator.width=16",
    "trainer.accelerator=cpu",
)


@pytest.mark.parametrize("n_critic", [1, 2, 5])
def test_max_steps_counts_generator_updates(train_run: Callable[..., Run], n_critic: int) -> None:
    run = train_run(
        "run",
        *POINTS,
        "metrics=modes",
        "trainer.max_steps=10",
        "trainer.log_every_n_steps=2",
        "callbacks.evaluation.every_n_steps=4",
        "callbacks.evaluation.max_share=null",
        "callbacks.samples.every_n_steps=5",
        "schedule=linear",
        f"optim.n_critic={n_critic}",
    )
    checkpoint = torch.load(run.last, weights_only=True)
    g_state, d_state = (state["state"] for state in checkpoint["optimizer_states"])
    assert {int(s["step"]) for s in g_state.values()} == {10}
    assert {int(s["step"]) for s in d_state.values()} == {10 * n_critic}
    assert checkpoint["global_step"] == 10
    result = run.read_result() or {}
    assert result["generator_updates"] == 10
    assert result["images_seen"] == 10 * n_critic * 16
    assert sorted(path.name for path in run.samples.glob("0*.png")) == ["000005.png", "000010.png"]
    with open(run.path / "metrics.csv") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == [2, 4, 6, 8, 10]
    assert [step for step, row in rows.items() if row["score/modes_covered"]] == [4, 8, 10]
    # the rate of update u (from 0) of 10 is 1 - u/10 of the initial one, and step s logs update s - 1
    for step, row in rows.items():
        assert float(row["rate/generator"]) == pytest.approx(2e-4 * (1 - (step - 1) / 10), rel=1e-4)
        assert int(row["images_seen"]) == step * n_critic * 16


def test_joint_and_separate_discriminator_pass_are_equal(
    make_config: Callable[..., Any], one_update: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(*POINTS, "metrics=none")
    joint = one_update(config)
    import adversaria.systems.gan

    monkeypatch.setattr(adversaria.systems.gan, "mixes_samples", lambda _: True)
    separate = one_update(config)
    assert joint.keys() == separate.keys()
    for name in joint:
        torch.testing.assert_close(joint[name], separate[name], rtol=1e-5, atol=1e-7)


def test_batchnorm_forbids_the_joint_pass(make_config: Callable[..., Any]) -> None:
    def joint(*overrides: str) -> bool:
        config = make_config("model=dcgan", *overrides)
        return build_system(config, DataSpec((1, 16, 16), 10, Image())).joint_pass

    assert not joint()
    assert joint("discriminator=sndcgan")


@pytest.mark.parametrize("regulariser", ["none", "r1"])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    make_config: Callable[..., Any], one_update: Callable[..., Any], regulariser: str
) -> None:
    # SGD, because Adam turns a rounding error in a vanishing gradient into a whole step
    config = (*POINTS, "metrics=none", f"regulariser={regulariser}", "optim=sgd")
    whole = one_update(make_config(*config))
    parts = one_update(make_config(*config, "optim.accumulate=4"))
    start = build_experiment(make_config(*config)).system.state_dict()
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-5, atol=1e-7)
        assert not torch.equal(whole[name], start[name]), f"{name} did not move"


@pytest.mark.parametrize("interval", [1, 4])
def test_a_lazy_penalty_counts_interval_times_in_a_step_of_its_own(
    make_config: Callable[..., Any], one_update: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, interval: int
) -> None:
    """With plain gradient descent of rate 1 the weights move by the gradients, which add up."""
    monkeypatch.setattr(R1, "__call__", lambda self, step: next(iter(step.discriminator.parameters())).sum())
    settings = (*POINTS, "metrics=none", "optim=sgd", "optim.discriminator.lr=1", f"regulariser.r1.interval={interval}")
    with_penalty = one_update(make_config(*settings, "regulariser=r1", "regulariser.r1.weight=3"))
    without = one_update(make_config(*settings[:-1]))
    name = next(name for name in without if name.startswith("discriminator."))
    # the first step is due
    torch.testing.assert_close(with_penalty[name], without[name] - 3 * interval, rtol=1e-5, atol=1e-5)


def test_a_lazy_term_is_due_every_interval_steps(
    train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    due: list[int] = []
    original = R1.__call__

    def watched(self: R1, step: Any) -> torch.Tensor:
        due.append(step.progress.update)
        return original(self, step)

    monkeypatch.setattr(R1, "__call__", watched)
    settings = ("trainer.max_steps=10", "trainer.log_every_n_steps=3", "regulariser=r1", "regulariser.r1.interval=4")
    run = train_run("run", *POINTS, "metrics=none", *settings)
    assert due == [0, 4, 8]
    with open(run.path / "metrics.csv") as file:  # logged although no logged step was due
        assert [float(row["loss/r1"]) >= 0 for row in csv.DictReader(file)] == [True, True, True]
    checkpoint = torch.load(run.last, weights_only=True)
    g_state, d_state = (state["state"] for state in checkpoint["optimizer_states"])
    assert checkpoint["global_step"] == 10
    assert {int(s["step"]) for s in g_state.values()} == {10}
    assert max(int(s["step"]) for s in d_state.values()) == 13  # the last bias has no part in the penalty


def test_a_lazy_term_sees_outputs_of_the_new_weights_unless_it_needs_none(
    train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def watched(self: R1, step: Any) -> torch.Tensor:
        seen.append(step.fake_output)
        return step.fake_output.logits.square().mean()

    monkeypatch.setattr(R1, "__call__", watched)
    monkeypatch.setattr(R1, "uses_outputs", True)
    train_run("run", *POINTS, "metrics=none", "trainer.max_steps=3", "regulariser=r1", "regulariser.r1.interval=2")
    assert len(seen) == 2  # its backward pass would fail on the graph of the step before


def test_a_term_with_state_is_saved_and_restored(
    train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(torch.nn.Module):
        weight, interval, applies_to = 0.0, 1, "generator"

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, step: Any) -> torch.Tensor:
            self.calls += 1
            return step.fake.sum() * 0

    import adversaria.objectives.terms

    monkeypatch.setattr(adversaria.objectives.terms, "R2", Counting)
    Counting.__module__, Counting.__qualname__ = "adversaria.objectives.terms", "R2"
    counting = ("+regulariser.counting._target_=adversaria.objectives.terms.R2",)
    run = train_run("run", *POINTS, "metrics=none", "trainer.max_steps=3", *counting)
    state = torch.load(run.last, weights_only=True)["state_dict"]
    assert state["stateful_terms.counting.calls"] == 3


def test_parts_may_refuse_each_other(make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(self: R1, system: Any) -> None:
        raise UserError(f"r1 cannot go with {type(system.discriminator).__name__}")

    monkeypatch.setattr(R1, "check", check, raising=False)
    with pytest.raises(UserError, match="cannot go with MLPDiscriminator"):
        build_system(make_config(*POINTS, "regulariser=r1"), DataSpec((2,), None, Points()))


def test_an_adaptive_augmentation_sees_progress_and_real_logits(
    train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adversaria.objectives.augment import Identity

    began: list[int] = []
    logits: list[int] = []
    monkeypatch.setattr(Identity, "begin_step", lambda _, progress: began.append(progress.images), raising=False)
    monkeypatch.setattr(Identity, "observe", lambda _, real: logits.append(len(real)), raising=False)
    train_run("run", *POINTS, "metrics=none", "trainer.max_steps=2", "optim.n_critic=3", "optim.accumulate=2")
    assert began == [0, 48]
    assert logits == [16] * 6  # one call for each D step, whatever the parts


def test_generator_step_leaves_the_discriminator_alone(make_config: Callable[..., Any]) -> None:
    """Neither gradients nor running statistics of D move in a G step."""
    config = make_config("model=dcgan", "metrics=none", "data.batch_size=8", "trainer.accelerator=cpu")
    experiment = build_experiment(config)
    system: Any = experiment.system
    seen: dict[str, Any] = {}
    begin, end, before = system.generate_and_discriminate, system.end_step, {}

    def begun(*arguments: Any) -> Any:
        before.update({k: v.clone() for k, v in system.discriminator.state_dict().items()})
        return begin(*arguments)

    def ended(*arguments: Any) -> None:
        seen["moved"] = [k for k, v in system.discriminator.state_dict().items() if not torch.equal(v, before[k])]
        seen["gradients"] = [p for p in system.discriminator.parameters() if p.grad is not None and p.grad.any()]
        end(*arguments)

    system.generate_and_discriminate, system.end_step = begun, ended
    trainer = Trainer(
        max_steps=1,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(system, datamodule=experiment.data)
    assert seen == {"moved": [], "gradients": []}


def test_weight_clipping_holds_after_every_step(train_run: Callable[..., Run]) -> None:
    run = train_run(
        "run",
        *POINTS,
        "metrics=none",
        "trainer.max_steps=3",
        "loss=wasserstein",
        "regulariser=weight_clipping",
        "optim=rmsprop",
    )
    state = torch.load(run.last, weights_only=True)["state_dict"]
    assert all(v.abs().max() <= 0.01 for k, v in state.items() if k.startswith("discriminator."))
    assert any(v.abs().max() > 0.01 for k, v in state.items() if k.startswith("generator."))


def test_gradient_norms_are_clipped(make_config: Callable[..., Any], one_update: Callable[..., Any]) -> None:
    """With SGD of rate 1 an update moves the weights by the gradient, at most the given norm."""
    config = make_config(
        *POINTS,
        "metrics=none",
        "optim=sgd",
        "optim.generator.lr=1",
        "optim.discriminator.lr=1",
        "optim.clip_norm=0.001",
    )
    start, end = build_experiment(config).system.state_dict(), one_update(config)
    for network in ("generator", "discriminator"):
        moved = [(end[k] - start[k]).norm() for k in end if k.startswith(network)]
        assert float(torch.stack(moved).norm()) == pytest.approx(0.001, rel=1e-2)


def test_conditional_networks_must_agree(make_config: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"conditional.* differ"):
        build_system(make_config("model.generator.conditional=true"), DataSpec((1, 16, 16), 10, Image()))


def test_ranks_and_steps_draw_different_latents() -> None:
    from adversaria.core.seeding import seed_step

    def draw(seed: int, rank: int, step: int, rollbacks: int) -> torch.Tensor:
        seed_step(seed, rank, step, rollbacks, torch.device("cpu"))
        return torch.randn(8)

    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    draws = [draw(*key) for key in keys]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    assert torch.equal(draw(*keys[2]), draws[2])


def test_labels_of_fakes_occur_as_often_as_those_of_reals(make_config: Callable[..., Any]) -> None:
    system: Any = build_system(make_config("model=cgan"), DataSpec((1, 16, 16), 10, Image()))
    reals = torch.tensor([7] * 900 + [2] * 100)
    _, labels = system._draw(20_000, reals)
    assert set(labels.tolist()) == {2, 7}
    assert float((labels == 2).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_pairs_that_a_relativistic_loss_compares_are_of_one_class(make_config: Callable[..., Any]) -> None:
    config = make_config("model=cgan", "loss=relativistic_pairing")
    system: Any = build_system(config, DataSpec((1, 16, 16), 10, Image()))
    labels = torch.arange(8)
    assert torch.equal(system._draw(8, labels)[1], labels)
    assert torch.equal(system._draw(3, labels)[1], labels[-3:])


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
    train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adversaria.systems.gan import GAN

    original = GAN.generate_and_discriminate

    def poisoned(self: GAN, *arguments: Any) -> Any:
        logits, compared = original(self, *arguments)
        return logits * float("nan") if self.global_step == 12 else logits, compared

    monkeypatch.setattr(GAN, "generate_and_discriminate", poisoned)
    run = train_run(
        "run",
        *POINTS,
        "metrics=modes",
        "trainer.max_steps=40",
        "trainer.log_every_n_steps=5",
        "callbacks.checkpoint.every_n_steps=5",
        "callbacks.evaluation.every_n_steps=20",
        "callbacks.evaluation.max_share=null",
    )
    result = run.read_result() or {}
    assert result["status"] == "diverged"
    checkpoint = torch.load(run.last, weights_only=True)
    assert checkpoint["global_step"] == 10
    assert all(v.isfinite().all() for v in checkpoint["state_dict"].values())


def test_non_finite_weights_are_never_saved(train_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    from adversaria.systems.gan import GAN

    original = GAN.end_step

    def poisoned(self: GAN, *arguments: Any) -> None:
        original(self, *arguments)
        if self.global_step == 10:
            next(self.generator.parameters()).data.flatten()[0] = float("inf")

    monkeypatch.setattr(GAN, "end_step", poisoned)
    run = train_run("run", *POINTS, "metrics=none", "trainer.max_steps=40", "callbacks.checkpoint.every_n_steps=5")
    assert (run.read_result() or {})["status"] == "diverged"
    assert torch.load(run.last, weights_only=True)["global_step"] == 5


def test_decoded_reals_reach_the_system(make_config: Callable[..., Any]) -> None:
    """Mirroring happens in the seeded step: the same step decodes the same batch to the same reals."""
    experiment = build_experiment(make_config("model=dcgan", "data.mirror=true", "metrics=none", "data.batch_size=8"))
    data: DataModule = experiment.data
    batch = data.reals(0, 0, 1, 8)
    torch.manual_seed(1)
    first, labels = data.decode(batch)
    torch.manual_seed(1)
    second, _ = data.decode(batch)
    assert torch.equal(first, second)
    assert first.min() >= -1
    assert first.max() <= 1
    assert labels is not None
    assert not torch.equal(first, experiment.system.spec.modality.decode(batch.samples))


def test_parts_cut_every_tensor_alike() -> None:
    nothing: Any = None
    step = Step(
        nothing,
        nothing,
        nothing,
        torch.arange(6),
        torch.arange(4),
        None,
        torch.arange(4),
        torch.arange(4),
        *[nothing] * 3,
    )
    parts = [(part.real.tolist(), part.fake.tolist(), part.real_labels) for part in step.microbatches(2)]
    assert parts == [([0, 1, 2], [0, 1], None), ([3, 4, 5], [2, 3], None)]
    assert next(step.microbatches(1)) is step


def test_bfloat16_stays_close_to_the_reference_arithmetic(train_run: Callable[..., Run]) -> None:
    def losses(name: str, precision: str) -> list[float]:
        run = train_run(
            name,
            "model=dcgan",
            "model.discriminator.norm=none",
            "model.generator.width=8",
            "model.discriminator.width=8",
            "regulariser=r1",
            "regulariser.r1.weight=1",
            "metrics=none",
            "data.batch_size=16",
            "trainer.max_steps=5",
            "trainer.log_every_n_steps=5",
            "trainer.accelerator=cpu",
            f"trainer.precision={precision}",
        )
        with open(run.path / "metrics.csv") as file:
            [row] = csv.DictReader(file)
        assert all(v.dtype != torch.bfloat16 for v in torch.load(run.last, weights_only=True)["state_dict"].values())
        return [float(row[f"loss/{loss}"]) for loss in ("discriminator", "generator")]

    assert losses("fast", "bf16-mixed") == pytest.approx(losses("reference", "32-true"), abs=0.05)
