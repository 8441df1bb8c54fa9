"""What a system's networks do with a fixed set of reals and latents: the part of its health that costs extra passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adversaria.core.modality import Modality
from adversaria.core.modes import evaluating
from adversaria.core.types import Batch, DataSpec, DiscriminatorOutput
from adversaria.data.module import DataModule
from adversaria.nn.layers.batch_norm import frozen_statistics, mixes_samples
from adversaria.objectives.losses import AdversarialLoss
from adversaria.systems.base import SteppedModule


class Probe:
    """Measures a system on the same reals, held-out reals and latents every time, and leaves no trace in it.

    BatchNorm normalises by the batch, as in training, but moves no statistics; all else is in evaluation mode. No
    random number is drawn, and nothing is read from the device.

    Args:
        system: that will be measured; says what stands beside the reals.
        data: prepared; its test split, where there is one, gives the held-out reals.
        count: samples of each kind.
        seed: of the choice of samples, of the latents and of the features.
        device: where the networks are.
        dtype: of their parameters.
    """

    def __init__(
        self,
        system: SteppedModule,
        data: DataModule,
        *,
        count: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._beside = system.beside
        self.seed, self.device, self.dtype = seed, device, dtype
        self.real, self.labels = self._reals(data, "train", count)
        held_out = "test" in data.loaded.splits and len(data.split("test")) >= count
        nothing: tuple[Tensor | None, Tensor | None] = (None, None)
        self.held_out, self.held_out_labels = self._reals(data, "test", count) if held_out else nothing
        self.features = random_features(data.spec, seed).to(device)
        self.spread, self.nearest = distances(self.features(self.real.float()))
        #: data that is one and the same point has no diversity to compare with
        self.varied = bool(self.spread > 0)

    def _reals(self, data: DataModule, split: Any, count: int) -> tuple[Tensor, Tensor | None]:
        """``count`` samples of ``split`` as the networks see them, and what they are given beside, on the device."""
        chosen = np.random.default_rng(self.seed).permutation(len(data.split(split)))[:count]
        batch: Batch = data.batch(split, chosen)
        samples, labels, condition = data.spec.modality.decode(batch.samples), batch.labels, data.spec.condition
        if labels is not None and condition is not None:
            labels = condition.modality.decode(labels)
        beside = self._beside(samples, labels, torch.Generator().manual_seed(self.seed))
        if beside is not None:
            beside = beside.to(self.device, self.dtype if beside.is_floating_point() else None)
        return samples.to(self.device, self.dtype), beside

    def __call__(self, system: SteppedModule) -> dict[str, Tensor]:
        """Scalars by name, on the device; those of D for a system that plays a game."""
        with probing(system.sampler) as generator, torch.no_grad():
            z = system.prior.draw(len(self.real), torch.Generator().manual_seed(self.seed))
            fake = generator(z.to(self.device, self.dtype), self.labels).to(self.dtype)
        values = {}
        if self.varied:
            spread, nearest = distances(self.features(fake.float()))
            values = {"diversity/spread": spread / self.spread, "diversity/nearest": _ratio(nearest, self.nearest)}
        if (game := system.game) is None:
            return values
        with probing(game.discriminator) as network:
            return values | self._discriminator(network, fake, game.loss)

    def _discriminator(self, network: nn.Module, fake: Tensor, loss: AdversarialLoss) -> dict[str, Tensor]:
        """How steep D is on reals, fakes and between them, what its logits leave to learn, and whether it overfits."""
        # Places between, one at each of as many shares: a penalty draws them at random, a probe need not.
        shares = torch.linspace(0, 1, len(fake), device=self.device, dtype=self.dtype)
        shares = shares.reshape(-1, *[1] * (fake.dim() - 1))
        places = {"real": self.real, "fake": fake, "interpolated": torch.lerp(self.real, fake, shares)}
        labels: dict[str, Any] = dict.fromkeys(places, self.labels)
        if self.held_out is not None:
            places["held_out"], labels["held_out"] = self.held_out, self.held_out_labels
        logits: dict[str, Tensor] = {}
        slopes: dict[str, Tensor] = {}
        # Where D judges each sample by itself one pass does for all; BatchNorm would mix the kinds.
        for group in [[name] for name in places] if mixes_samples(network) else [list(places)]:
            x = torch.cat([places[name] for name in group]).detach().requires_grad_()
            its_labels = None if self.labels is None else torch.cat([labels[name] for name in group])
            judged = _mean_logit(network(x, its_labels))
            [slope] = torch.autograd.grad(judged.sum(), x)
            logits |= zip(group, judged.detach().chunk(len(group)), strict=True)
            slopes |= zip(group, slope.flatten(1).norm(dim=1).chunk(len(group)), strict=True)
        values = {f"input_gradient/{name}": slopes[name].mean() for name in ("real", "fake", "interpolated")}
        if "held_out" in logits:
            values |= overfitting(*(logits[name].mean() for name in ("real", "held_out", "fake")))
        return values | signals(loss, logits["real"], logits["fake"])


def signals(loss: AdversarialLoss, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """How much the losses still ask for: the mean size of their derivatives by the logits, as shares.

    1 is what an undecided D (all logits 0) gets. ``health/d_signal`` near 0 is a D that has nothing left to learn: it
    tells all samples apart, whatever the loss calls saturated (sigmoids, a hinge, a fitted target). ``health/g_signal``
    near 0 is a G whose loss no longer tells it anything, as with the minimax loss against such a D (Arjovsky & Bottou
    2017, "Towards Principled Methods for Training GANs", theorem 2.4).

    Args:
        loss: the pair of losses.
        real_logits, fake_logits: ``[N]`` each.
    """

    def derivatives(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
        by_d = torch.autograd.grad(loss.d_loss(real, fake), (real, fake), materialize_grads=True)
        [by_g] = torch.autograd.grad(loss.g_loss(fake, real), (fake,))
        return torch.cat(by_d).abs().sum(), by_g.abs().sum()

    now = derivatives(real_logits.float(), fake_logits.float())
    undecided = derivatives(torch.zeros_like(real_logits).float(), torch.zeros_like(fake_logits).float())
    return {f"health/{n}_signal": _ratio(a, b) for n, a, b in zip("dg", now, undecided, strict=True)}


def overfitting(real: Tensor, held_out: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """``health/overfitting``: r_v of Karras et al. 2020 ("Training GANs with Limited Data", equation 1).

    ``(E[D(train)] - E[D(held out)]) / (E[D(train)] - E[D(fake)])``: 0 without overfitting, 1 where D takes reals that
    it was not trained on for fakes. ``health/held_out_gap`` is the numerator, in logits.
    """
    gap = real - held_out
    return {"health/held_out_gap": gap, "health/overfitting": _ratio(gap, real - fake)}


@torch.no_grad()
def distances(features: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``features [N, F]``: the mean distance of two samples, and the mean distance to the nearest other one."""
    pairs = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")  # [N, N]
    count = len(pairs)
    others = pairs + torch.diag(pairs.new_full((count,), torch.inf))
    return pairs.sum() / (count * (count - 1)), others.amin(1).mean()


def random_features(spec: DataSpec, seed: int) -> nn.Module:
    """A fixed network of random weights: samples ``[N, *shape]`` -> features ``[N, F]``.

    Samples that are neither maps nor have an image (see `adversaria.core.modality.Modality`) are their own features.
    Random convolutions with pooling keep what images have in common and forget where it lies by a pixel (Saxe et al.
    2011, "On Random Weights and Unsupervised Feature Learning"); unlike D's, these features stay the same all along.
    """
    is_map = len(spec.shape) == 3
    pictured = spec.shape if is_map else spec.image_shape
    if pictured is None:
        return nn.Flatten()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(pictured[0], 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),  # [N, 64, 4, 4] -> [N, 1024]
        )
    return (layers if is_map else nn.Sequential(_Pictured(spec.modality), layers)).requires_grad_(False)


class _Pictured(nn.Module):
    """Samples as the networks see them -> their images, in [-1, 1]."""

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.modality = modality

    def forward(self, samples: Tensor) -> Tensor:
        images = self.modality.as_image(self.modality.encode(samples))
        assert images is not None
        return images.float() / 127.5 - 1


@contextmanager
def probing(network: nn.Module) -> Iterator[Any]:
    """``network`` as in training, but writing no buffer: no running statistics, no power iteration, no dropout."""
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(frozen_statistics(network))
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        yield network


def _mean_logit(output: DiscriminatorOutput) -> Tensor:
    """One logit a sample, ``[N]``: those of patches are averaged."""
    return output.logits.flatten(1).mean(1) if output.logits.dim() > 1 else output.logits


def _ratio(value: Tensor, reference: Tensor) -> Tensor:
    """``value / reference``; 0 if both are."""
    return value / torch.where(reference == 0, torch.ones_like(reference), reference)
