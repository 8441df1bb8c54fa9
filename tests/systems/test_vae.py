"""The evidence lower bound against torch's distributions, and reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec
from adversaria.modalities import Image, Points
from adversaria.runs.folder import Run
from adversaria.systems.autoencoding import unexplained
from adversaria.systems.build import build_system

IMAGES = DataSpec((1, 16, 16), 10, Image())
SMALL = ("model=vae", "model.generator.width=8", "model.encoder.width=8", "model.generator.latent_dim=4")


def test_loss_is_the_negative_bound_for_each_dimension(make_config: Callable[..., Any]) -> None:
    vae: Any = build_system(make_config(*SMALL), IMAGES).eval()
    real = torch.rand(6, 1, 16, 16) * 2 - 1
    seen: dict[str, Any] = {}
    vae.begin_step = lambda batch: (real, None)
    vae.backward_part = lambda loss: seen.update(loss=loss.detach())
    vae.step_counted = lambda optimizer: None
    vae.optimizers = lambda: None
    vae._trainer = SimpleNamespace()
    torch.manual_seed(3)
    vae.training_step(Batch(real, None), 0)

    with torch.no_grad():
        mean, log_variance = vae.encoder(real)
        posterior = Normal(mean, (0.5 * log_variance).exp())
        torch.manual_seed(3)
        decoded = vae.generator(posterior.rsample())
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)  # [N]
        sigma = (decoded - real).square().mean().sqrt()
        # the constants of the density at its best variance: log(2 pi e) / 2 for each dimension
        likelihood = Normal(decoded, sigma).log_prob(real).flatten(1).sum(1)
    bound = (likelihood - divergence).mean() / 256 + 0.5 * torch.tensor(2 * torch.pi * torch.e).log()
    torch.testing.assert_close(seen["loss"], -bound)


def test_it_learns_to_reconstruct_digits(train_run: Callable[..., Run], make_config: Callable[..., Any]) -> None:
    import csv

    run = train_run(
        "run",
        *SMALL,
        "data.batch_size=32",
        "metrics=none",
        "trainer.max_steps=60",
        "trainer.log_every_n_steps=20",
        "trainer.accelerator=cpu",
    )
    with open(run.path / "metrics.csv") as file:
        errors = [float(row["loss/squared_error"]) for row in csv.DictReader(file)]
    assert errors[-1] < 0.6 * errors[0]
    assert (run.samples / "reconstructions_000060.png").is_file()


@pytest.mark.parametrize("model", ["vae", "vae_gan"])
def test_a_posterior_that_says_nothing_is_named(train_run: Callable[..., Run], model: str) -> None:
    """A divergence that counts a hundred thousand times leaves nothing in the latents."""
    found = train_run(
        model,
        f"model={model}",
        *SMALL[1:],
        *(["model.discriminator.width=8"] if model == "vae_gan" else []),
        "model.beta=1e5",
        "data.batch_size=32",
        "metrics=none",
        "~metrics.reconstruction",
        "trainer.max_steps=90",
        "trainer.log_every_n_steps=10",
        "trainer.accelerator=cpu",
        "callbacks.health.every_n_steps=10",
        "callbacks.health.samples=16",
        "callbacks.health.detectors.posterior_collapse.after=50",
    ).read_result()
    assert found is not None
    assert [finding["detector"] for finding in found["findings"]] == ["posterior_collapse"]
    assert "of the batch's variance unexplained" in found["findings"][0]["evidence"]


def test_what_is_left_unexplained_is_a_share_of_the_batch() -> None:
    reals = torch.randn(50, 1, 4, 4)
    assert unexplained(reals, reals) == 0
    torch.testing.assert_close(unexplained(reals, reals.mean(0).expand_as(reals)), torch.tensor(1.0))
    torch.testing.assert_close(unexplained(3 * reals + 7, 3 * reals.flip(0) + 7), unexplained(reals, reals.flip(0)))


def test_previews_put_each_real_beside_its_reconstruction(make_config: Callable[..., Any]) -> None:
    vae: Any = build_system(make_config(*SMALL), IMAGES).eval()
    reals = torch.rand(6, 1, 16, 16)
    pictures = vae.previews(reals)["reconstructions"]
    assert pictures.shape == (6, 1, 16, 16)
    assert torch.equal(pictures[0::2], reals[:3])


@pytest.mark.parametrize(
    ("override", "message"),
    [("optim.n_critic=2", "n_critic"), ("model.beta=-1", "beta"), ("model.generator.conditional=true", "conditional")],
)
def test_what_a_vae_has_no_place_for(make_config: Callable[..., Any], override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_system(make_config(*SMALL, override), IMAGES)


def test_images_only(make_config: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"model\.encoder|dcgan"):
        build_system(make_config(*SMALL, "generator=mlp"), DataSpec((2,), None, Points()))
