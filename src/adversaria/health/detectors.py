"""The ways in which a GAN fails, each with its symptom, its explanation and advice.

A symptom is a function of what was measured and of earlier readings; thresholds are arguments, set in
`conf/callbacks/health.yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from adversaria.core.ranges import Count, NonNegative, Positive, Share
from adversaria.health.examination import Detector, Reading, networks_of


@dataclass(frozen=True)
class DiscriminatorWon(Detector):
    """D has nothing left to learn: its loss is saturated (see `adversaria.health.probe.signals`).

    What G's loss still says is no symptom: it is silent where D is beaten too, if it saturates on that side.

    Args:
        patience, after: see `Detector`.
        d_signal: share of what an undecided D gets, below which D has won.
    """

    d_signal: NonNegative = 0.01

    explanation: ClassVar[str] = (
        "D tells reals from fakes without a doubt: its loss is saturated, its gradient says little about where better "
        "samples lie, and G learns slowly or not at all"
    )
    advice: ClassVar[str] = (
        "slow D down (a lower optim.discriminator.lr, optim.n_critic=1), make its task smooth (regulariser=r1, "
        "regulariser=gradient_penalty or regulariser=spectral_norm), or show it augmented samples (augment=ada)"
    )
    needs: ClassVar[tuple[str, ...]] = ("health/d_signal",)
    roles: ClassVar[tuple[str, ...]] = ("discriminator",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        value = reading["health/d_signal"]
        if value < self.d_signal:
            return f"D gets {value:.2g} of the gradient of an undecided one (alarm below {self.d_signal:g})"
        return None


@dataclass(frozen=True)
class GeneratorCollapse(Detector):
    """Samples of different latents are alike.

    Args:
        patience, after: see `Detector`.
        spread: mean distance of two fakes as a share of that of two reals, below which they are all the same.
        fall: the same as a share of the largest one so far, or of that of two reals where fakes lay further apart.
    """

    spread: NonNegative = 0.1
    fall: Share = 0.2

    explanation: ClassVar[str] = (
        "samples of different latents are almost the same: G puts all of its mass where D is wrong at the moment, and "
        "D, who judges samples one by one, cannot tell it to vary"
    )
    advice: ClassVar[str] = (
        "regularise D so that it cannot chase a single point (regulariser=r1 or regulariser=[r1,r2], "
        "loss=relativistic_pairing), let it see several samples at a time (discriminator=packed), lower both rates, or "
        "raise data.batch_size"
    )
    needs: ClassVar[tuple[str, ...]] = ("diversity/spread",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        value = reading["diversity/spread"]
        # Fakes that were once thrown far apart are no standard.
        best = min(1.0, max((r["diversity/spread"] for r in earlier if "diversity/spread" in r), default=0.0))
        if value < self.spread:
            return f"fakes spread {value:.2g} times as far as reals (alarm below {self.spread:g})"
        if value < self.fall * best:
            return (
                f"fakes spread {value:.2g} times as far as reals, {best:.2g} before (alarm below {self.fall:g} of it)"
            )
        return None


@dataclass(frozen=True)
class ExplodingGradients(Detector):
    """The largest gradient norm since the last reading, against what it was some readings ago.

    A single spike rises far above it, and so does a norm that grows without bound from reading to reading. That it
    grows tenfold or more while D learns is usual.

    Args:
        patience, after: see `Detector`.
        factor: times the earlier norm that is too much.
        within: the last readings that are looked at.
        oldest: so many of them, the first, have the earlier norm as their median; nothing is judged before there are as
            many.
    """

    factor: Positive = 100.0
    within: Count = 20
    oldest: Count = 5

    explanation: ClassVar[str] = (
        "a gradient many times the usual one: a single such step can undo thousands, and Adam's second moment, which "
        "remembers it, then stalls the network"
    )
    advice: ClassVar[str] = (
        "clip the gradients (optim.clip_norm=1), lower the rates, bound D's slope (regulariser=gradient_penalty, "
        "regulariser=r1 or regulariser=spectral_norm; weight clipping for a Wasserstein loss without a penalty), or "
        "start slowly (optim.schedule.warmup=1000)"
    )
    needs: ClassVar[tuple[str, ...]] = ("gradient_peak/*",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        for network in networks_of(reading):
            name = f"gradient_peak/{network}"
            before = [r[name] for r in earlier if math.isfinite(r.get(name, math.nan))]
            if name not in reading or len(before) < self.oldest:
                continue
            usual = median(before[-self.within :][: self.oldest])
            if reading[name] > self.factor * usual:
                return (
                    f"gradient norm of the {network} up to {reading[name]:.3g}, {usual:.3g} before (alarm above "
                    f"{self.factor:g} times it)"
                )
        return None


@dataclass(frozen=True)
class VanishingGradients(Detector):
    """Along the depth of a network the gradient dies out, or nothing of it reaches the network at all.

    A quarter of the layers may have any gradient: gates that begin closed, such as that of self-attention, leave those
    behind them without one for a while.

    Args:
        patience, after: see `Detector`.
        ratio: of the lower quartile of the layers' gradient norms to the largest of them.
        norm: of the whole gradient, the largest since the last reading. Less than Adam's epsilon moves nothing.
    """

    ratio: NonNegative = 2e-3
    norm: NonNegative = 1e-8

    explanation: ClassVar[str] = (
        "the gradient of some layers is a vanishing share of that of others: it shrinks from layer to layer on its way "
        "through the network, and those it does not reach stay as they were made"
    )
    advice: ClassVar[str] = (
        "give the gradient a short way (residual blocks: generator=residual_mlp, model.generator.residual_blocks=1), "
        "normalise (model.generator.norm=batch), use activations that do not saturate, or fewer layers"
    )
    needs: ClassVar[tuple[str, ...]] = ("gradient_profile/*", "gradient_peak/*")

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        for network in networks_of(reading):
            peak = reading.get(f"gradient_peak/{network}", math.inf)
            if peak < self.norm:
                return f"the largest gradient norm of the {network} was {peak:.2g} (alarm below {self.norm:g})"
            norms = sorted(v for name, v in reading.items() if name.startswith(f"gradient_profile/{network}/"))
            if norms and norms[len(norms) // 4] < self.ratio * norms[-1]:
                return (
                    f"a quarter of the layers of the {network} has less than {norms[len(norms) // 4] / norms[-1]:.2g} "
                    f"of the gradient norm of the strongest (alarm below {self.ratio:g})"
                )
        return None


@dataclass(frozen=True)
class DiscriminatorOverfits(Detector):
    """D knows its training images by heart; to be seen with held-out reals alone.

    Without them an overfitting D looks like one that has an easy task: E[sign D(real)] is near 1 for both.

    Args:
        patience, after: see `Detector`.
        overfitting: r_v, the share of the gap between reals and fakes that held-out reals lie below training reals.
        separation: that gap over the standard deviations of both, added up: where it is less D tells them hardly apart,
            and r_v is noise over noise.
    """

    overfitting: Share = 0.5
    separation: Positive = 0.5

    explanation: ClassVar[str] = (
        "D takes reals that it was not trained on for fakes: it has learnt the training images by heart, and what it "
        "tells G leads to them or nowhere"
    )
    advice: ClassVar[str] = (
        "augment what D sees (augment=ada or augment=diffaugment), get more data, make D smaller, or stop at best.ckpt"
    )
    needs: ClassVar[tuple[str, ...]] = ("health/overfitting",)
    roles: ClassVar[tuple[str, ...]] = ("discriminator",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        spreads = reading.get("logits/real_std", 0.0) + reading.get("logits/fake_std", 0.0)
        if reading.get("logits/gap", math.inf) < self.separation * spreads:
            return None
        name = "health/overfitting"
        value = median([r[name] for r in (*earlier, reading) if name in r][-5:])
        if value > self.overfitting:
            sign = f", r_t is {reading['logits/real_sign']:.2f}" if "logits/real_sign" in reading else ""
            return (
                f"held-out reals lie {value:.0%} of the way from training reals to fakes (alarm above "
                f"{self.overfitting:.0%}){sign}"
            )
        return None


@dataclass(frozen=True)
class PosteriorCollapse(Detector):
    """Reconstructions say nothing of what was encoded: the decoder ignores its latent, or the encoder writes noise.

    Samples may look well meanwhile, for they need no encoder; so may the score.

    Args:
        patience, after: see `Detector`.
        unexplained: squared error of a batch's reconstructions over the batch's variance, the error of its mean sample.
    """

    unexplained: Positive = 0.8

    explanation: ClassVar[str] = (
        "reconstructions are no nearer to what was encoded than the mean of the batch: latents carry nothing of the "
        "samples (posterior collapse), and what is left is a decoder that makes samples of noise"
    )
    advice: ClassVar[str] = (
        "let the likelihood count for more (a lower model.beta, a higher model.gamma), compare features nearer the "
        "image (model.stage), give the encoder a higher rate (optim.encoder.lr), or slow D down "
        "(a lower optim.discriminator.lr) so that its features stay useful"
    )
    needs: ClassVar[tuple[str, ...]] = ("reconstruction/unexplained",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        value = reading["reconstruction/unexplained"]
        if value > self.unexplained:
            return (
                f"reconstructions leave {value:.0%} of the batch's variance unexplained (alarm above "
                f"{self.unexplained:.0%})"
            )
        return None


@dataclass(frozen=True)
class ScoreDegrades(Detector):
    """The monitored score is far from its best.

    Args:
        patience, after: see `Detector`; readings here are evaluations.
        factor: times the best that is too much (for a score to be maximised: the best over it).
    """

    factor: Positive = 2.0

    explanation: ClassVar[str] = "the score gets worse from evaluation to evaluation: the run has passed its best"
    advice: ClassVar[str] = (
        "take best.ckpt, let the rates fall towards the end (schedule=linear or schedule=cosine), average over longer "
        "(callbacks.ema.half_life), or look at what else the doctor found"
    )
    needs: ClassVar[tuple[str, ...]] = ("health/score_ratio",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        value = reading["health/score_ratio"]
        if value > self.factor:
            return f"the score is {value:.2f} times as bad as the best one (alarm above {self.factor:g})"
        return None


@dataclass(frozen=True)
class NotFinite(Detector):
    """NaN or infinity."""

    explanation: ClassVar[str] = "a loss, gradient or weight became NaN or infinite, and every later one with it"
    advice: ClassVar[str] = (
        "lower the rates, clip the gradients (optim.clip_norm=1), use trainer.precision=bf16-mixed or 32-true instead "
        "of 16-mixed, or look for it with trainer.detect_anomaly=true"
    )
    needs: ClassVar[tuple[str, ...]] = ("nonfinite_share/*",)

    def symptom(self, reading: Reading, earlier: Sequence[Reading]) -> str | None:
        """See `Detector`."""
        for network in networks_of(reading):
            share = reading.get(f"nonfinite_share/{network}", 0.0)
            peak = reading.get(f"gradient_peak/{network}", 0.0)
            if share > 0 or not math.isfinite(peak):
                return f"{share:.0%} of the gradient of the {network} is not finite"
        return None
