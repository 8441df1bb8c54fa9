"""Algorithm 1 of Larsen et al. 2016: what each network's gradient is made of, and what D is shown."""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.types import Batch, DataSpec, Step
from adversaria.modalities import Image, Points
from adversaria.nn.networks.dcgan import DCGANDiscriminator
from adversaria.runs.folder import Run
from adversaria.systems.build import build_system

IMAGES = DataSpec((1, 16, 16), 10, Image())
SMALL = (
    "model=vae_gan",
    "model.generator.width=8",
    "model.encoder.width=8",
    "model.discriminator.width=8",
    "model.generator.latent_dim=4",
)
NETWORKS = ("generator", "encoder", "discriminator")
Gradients = dict[str, list[Tensor]]


class Recorded:
    """One training step of a system in eval mode, whose optimizers note the gradients and change nothing."""

    def __init__(self, system: Any, real: Tensor) -> None:
        self.gradients: dict[str, Gradients] = {}
        self.shown: list[tuple[Tensor, Tensor]] = []  # reals and fakes
        self.values: dict[str, Tensor] = {}
        discriminate = system.discriminate

        def stepped(optimizer: Any) -> None:
            [name] = [name for name in NETWORKS if name == getattr(optimizer, "of", optimizer)]
            self.gradients[name] = {n: _gradients(getattr(system, n)) for n in NETWORKS}
            getattr(system, name).zero_grad()

        def shows(step: Step) -> Any:
            self.shown.append((step.real, step.fake))
            return discriminate(step)

        system.begin_step = lambda batch: (real, None)
        system.optimizers = lambda: tuple(SimpleNamespace(optimizer=name, of=name) for name in NETWORKS)
        system.step_counted = system.step_uncounted = stepped
        system.differentiate = lambda loss, **keywords: loss.backward(**keywords)
        system.discriminate = shows
        system.end_step = lambda losses, values: self.values.update({**losses, **values})
        system._trainer = SimpleNamespace()
        system.training_step(Batch(real, None), 0)


def _gradients(network: Any) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters()]


def of(loss: Tensor, network: Any) -> list[Tensor]:
    """The gradient of ``loss`` by the weights of ``network``, zero where there is none."""
    parameters = list(network.parameters())
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True, allow_unused=True))


def close(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def real() -> Tensor:
    return torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_gradients_and_losses_are_those_of_the_algorithm(make_config: Callable[..., Any], real: Tensor) -> None:
    config = make_config(*SMALL, "model.gamma=0.3", "model.beta=0.7", "model.stage=1")
    system: Any = build_system(config, IMAGES).eval()
    torch.manual_seed(3)
    seen = Recorded(system, real)

    torch.manual_seed(3)
    mean, log_variance = system.encoder(real)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    z_p = torch.randn(4, 4)
    z = posterior.rsample()
    x_tilde, x_p = system.generator(z), system.generator(z_p)
    [(shown, fakes)] = seen.shown
    assert torch.equal(shown, real)
    torch.testing.assert_close(fakes, torch.cat([x_tilde[:3], x_p]).detach())  # reconstructions, and of the prior

    def logits(x: Tensor) -> Tensor:
        return system.discriminator(x).logits

    d_loss = F.softplus(-logits(real)).mean() + F.softplus(logits(fakes)).mean()
    close(seen.gradients["discriminator"]["discriminator"], of(d_loss, system.discriminator))
    # the first convolution and its activation: [N, 8, 8, 8]
    error = (system.discriminator.layers[:2](x_tilde) - system.discriminator.layers[:2](real)).square().mean()
    likelihood = 0.5 * error.log()
    divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1).mean()
    elbo = likelihood + 0.7 * divergence / 512
    # no adversarial gradient reaches Enc, and none of the likelihood D
    close(seen.gradients["encoder"]["encoder"], of(elbo, system.encoder))
    assert all(not gradient.any() for gradient in seen.gradients["generator"]["discriminator"])
    g_loss = F.softplus(-logits(torch.cat([x_tilde[:3], x_p]))).mean()
    assert any(gradient.any() for gradient in of(g_loss, system.encoder))  # which is there to be kept out
    wanted = [0.3 * a + b for a, b in zip(of(elbo, system.generator), of(g_loss, system.generator), strict=True)]
    close(seen.gradients["generator"]["generator"], wanted)
    for name, value in {
        "loss/discriminator": d_loss,
        "loss/generator": g_loss,
        "loss/elbo": elbo,
        "loss/divergence": divergence,
        "loss/feature_error": error,
    }.items():
        torch.testing.assert_close(seen.values[name].detach(), value.detach(), msg=name)


def test_terms_and_losses_of_the_game_compose(make_config: Callable[..., Any], real: Tensor) -> None:
    """A relativistic loss pairs as many fakes as reals; a penalty joins D's loss."""
    overrides = (*SMALL, "loss=relativistic_pairing", "regulariser=[r1,r2]", "model.discriminator.norm=none")
    system: Any = build_system(make_config(*overrides), IMAGES).eval()
    seen = Recorded(system, real)
    assert seen.values["loss/r1"] > 0
    assert seen.values["loss/r2"] > 0
    [(reals, fakes)] = seen.shown
    assert len(fakes) == len(reals) == 7


def test_each_network_has_its_rate_and_norm_and_learns(train_run: Callable[..., Run]) -> None:
    run = train_run(
        "run",
        *SMALL,
        "data.batch_size=32",
        "metrics=none",
        "trainer.max_steps=90",
        "trainer.log_every_n_steps=30",
        "trainer.accelerator=cpu",
        "optim.encoder.lr=2e-3",
    )
    with open(run.path / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for role, rate in zip(NETWORKS, (1e-3, 2e-3, 2e-4), strict=True):
        assert float(rows[-1][f"rate/{role}"]) == pytest.approx(rate)
        assert float(rows[-1][f"gradient_norm/{role}"]) > 0
    assert float(rows[-1]["reconstruction/unexplained"]) < 0.8 * float(rows[0]["reconstruction/unexplained"])
    assert (run.samples / "reconstructions_000090.png").is_file()
    assert len(torch.load(run.last, weights_only=True)["optimizer_states"]) == 3
    assert (run.read_result() or {})["findings"] == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.n_critic=2", "n_critic.*VAE-GAN"),
        ("optim.accumulate=2", "accumulate"),
        ("model.generator.conditional=true", "conditional=true is not for a VAE-GAN"),
        ("model.stage=3", r"model\.stage=3 .* which has 2"),
        ("model.gamma=-1", "gamma"),
        ("regulariser=reconstruction", "made from noise"),
        ("generator=infogan", "codes"),
        ("generator=sndcgan", None),
    ],
)
def test_what_a_vae_gan_has_no_place_for(make_config: Callable[..., Any], override: str, message: str | None) -> None:
    others = [each for each in SMALL if not (override.startswith("generator=") and each.startswith("model.generator."))]
    config = make_config(*others, override)
    if message is None:
        build_system(config, IMAGES)
        return
    with pytest.raises(UserError, match=message):
        build_system(config, IMAGES)


def test_a_discriminator_without_stages_and_data_without_images_are_refused(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"model\.encoder|dcgan"):
        build_system(make_config(*SMALL, "generator=mlp", "discriminator=mlp"), DataSpec((2,), None, Points()))
    monkeypatch.setattr(DCGANDiscriminator, "stages", ())
    with pytest.raises(UserError, match="which says of none"):
        build_system(make_config(*SMALL), IMAGES)


@pytest.mark.parametrize("model", ["dcgan", "vae"])
def test_an_optimizer_for_an_encoder_is_for_those_that_use_it(make_config: Callable[..., Any], model: str) -> None:
    encoder = "+optim.encoder={_target_: torch.optim.Adam, _partial_: true, lr: 1e-3}"
    config = make_config(f"model={model}", encoder, "model.generator.width=8")
    with pytest.raises(UserError, match=r"optim\.encoder .* choose model=vae_gan"):
        build_system(config, IMAGES)
