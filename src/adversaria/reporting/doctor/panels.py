"""What the page draws: the columns of ``metrics.csv`` by theme, and how to read each.

``{network}`` stands for the role of a network: where a title has it there is a panel for each network of the run, else
a column for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from adversaria.health import (
    Detector,
    DiscriminatorOverfits,
    DiscriminatorWon,
    GeneratorCollapse,
    PosteriorCollapse,
    ScoreDegrades,
    VanishingGradients,
)

_ROLE = "{network}"


@dataclass(frozen=True)
class Lines:
    """Curves over generator updates.

    Attributes:
        title: what is drawn.
        columns: labels by column; ``"score/*"`` stands for all that begin with it, labelled by what follows.
        bands: by column, that of the half width of the band around it.
        limits: where a detector's argument is a threshold of what is drawn: its class and the argument.
        level: a value to compare with, drawn grey, and what it is.
        log: whether the axis is logarithmic; what is not above ``floor`` is drawn at it.
        floor: see ``log``.
        view: lowest and highest value that the axis shows.
        each: whether every column gets axes of its own.
    """

    title: str
    columns: Mapping[str, str]
    bands: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[tuple[type[Detector], str]] = ()
    level: tuple[float, str] | None = None
    log: bool = False
    floor: float = 1e-30  # the gradient of a deep network falls that far
    view: tuple[float, float] | None = None
    each: bool = False

    def of(self, networks: Sequence[str]) -> list[Lines]:
        """The panels of a run with these networks."""
        if _ROLE in self.title:
            titles = {role: self.title.replace(_ROLE, role) for role in networks}
            return [panel for role, title in titles.items() for panel in replace(self, title=title).of([role])]
        columns = {
            name.replace(_ROLE, role): label.replace(_ROLE, role)
            for name, label in self.columns.items()
            for role in (networks if _ROLE in name else [""])
        }
        return [replace(self, columns=columns)]


@dataclass(frozen=True)
class HeatMap:
    """One row of colours for each column of a network that begins with ``prefix``, over generator updates."""

    title: str
    prefix: str

    def of(self, networks: Sequence[str]) -> list[HeatMap]:
        """The panels of a run with these networks."""
        return [HeatMap(self.title.replace(_ROLE, role), self.prefix.replace(_ROLE, role)) for role in networks]


@dataclass(frozen=True)
class Theme:
    """A section of the page.

    Attributes:
        title: its heading.
        reading: how to read it.
        panels: what is drawn; one whose columns the run does not have is left out.
    """

    title: str
    reading: str
    panels: Sequence[Lines | HeatMap]

    def panels_of(self, networks: Sequence[str]) -> list[Lines | HeatMap]:
        """Those of a run whose networks have these roles."""
        return [made for panel in self.panels for made in panel.of(networks)]


THEMES = (
    Theme(
        "Logits: does D tell reals from fakes?",
        "Two bands that overlap are a game that goes on; bands that drift apart are a discriminator that has won. "
        "Accuracy: 0.5 is guessing, 1 is no doubt. E[sign D(real)] is r_t of adaptive augmentation, which is near 1 "
        "for a D that has learnt the training data by heart and for one that has an easy task.",
        (
            Lines(
                "logits, mean and standard deviation",
                {"logits/real_mean": "reals", "logits/fake_mean": "fakes"},
                bands={"logits/real_mean": "logits/real_std", "logits/fake_mean": "logits/fake_std"},
            ),
            Lines("gap: mean logit of reals less that of fakes", {"logits/gap": "gap"}, level=(0, "undecided")),
            Lines(
                "accuracy and E[sign D(real)]",
                {"logits/accuracy": "accuracy", "logits/real_sign": "E[sign D(real)] (r_t)"},
            ),
        ),
    ),
    Theme(
        "Signals: do the losses still ask for anything?",
        "The size of the losses' derivatives by the logits as a share of what an undecided D gets, which is 1. D below "
        "its threshold has nothing left to learn; a G near 0 is told nothing. 0 is drawn at the lower edge.",
        (
            Lines(
                "signal left",
                {"health/d_signal": "D", "health/g_signal": "G"},
                limits=((DiscriminatorWon, "d_signal"),),
                level=(1, "undecided D"),
                log=True,
                floor=1e-6,
            ),
        ),
    ),
    Theme(
        "Gradients: do they explode, vanish or stay?",
        "Norms before clipping: a line that rises by orders of magnitude is an explosion, peaks far above the norm are "
        "single bad batches. The update ratio is the step's length as a share of the weights': as a rule of thumb "
        "0.001 is usual, 0.1 tears a network apart and 0.00001 leaves it as it was.",
        (
            Lines(
                "gradient norm of the {network}",
                {
                    "gradient_norm/{network}": "at the logged step",
                    "gradient_peak/{network}": "largest in between, without vectors",
                },
                log=True,
            ),
            Lines("update ratio: step over weights", {"update_ratio/{network}": "{network}"}, log=True),
        ),
    ),
    Theme(
        "Gradient profile: does the gradient reach every layer?",
        "The norm of each layer's weight gradient, first layer on top. Rows of like colour are healthy; colours that "
        "darken from the bottom to the top are a gradient that dies out on its way to the first layers. Below: the "
        "weakest layer over the strongest.",
        (
            HeatMap("gradient by layer of the {network}", "gradient_profile/{network}/"),
            Lines(
                "weakest over strongest layer",
                {"gradient_profile/{network}_ratio": "{network}"},
                limits=((VanishingGradients, "ratio"),),
                log=True,
            ),
        ),
    ),
    Theme(
        "Input gradients: how steep is D?",
        "The mean slope of D's logit by the sample, which estimates its Lipschitz constant from below. Steep between "
        "reals and fakes and flat at both is a cliff that gives G no direction; a gradient penalty holds it near 1.",
        (
            Lines(
                "slope of D",
                {f"input_gradient/{place}": place for place in ("real", "fake", "interpolated")},
                log=True,
            ),
        ),
    ),
    Theme(
        "Diversity: are the samples different?",
        "Distances among fakes as shares of those among reals: 1 is as diverse as the data. The spread is over all "
        "pairs, and falls when all samples become one; the distance to the nearest falls when there are copies.",
        (
            Lines(
                "distances of fakes over those of reals",
                {"diversity/spread": "spread", "diversity/nearest": "to the nearest"},
                limits=((GeneratorCollapse, "spread"),),
                level=(1, "as reals"),
                log=True,
                floor=1e-3,
            ),
        ),
    ),
    Theme(
        "Reconstructions: do latents say what was encoded?",
        "The squared error of reconstructions over the variance of the batch. 1 is the error of the batch's mean "
        "sample, which a decoder reaches that ignores its latent; other samples than those encoded are worse.",
        (
            Lines(
                "share of the variance that is left unexplained",
                {"reconstruction/unexplained": "unexplained"},
                limits=((PosteriorCollapse, "unexplained"),),
                level=(1, "the mean sample"),
                log=True,
                floor=1e-3,
            ),
        ),
    ),
    Theme(
        "Overfitting: does D know its training data by heart?",
        "Where held-out reals lie between training reals (0) and fakes (1), r_v of adaptive augmentation; and by how "
        "much lower D's logit of them is. Both wander while D cannot tell reals from fakes yet, so that the alarm is "
        "for the median of five readings.",
        (
            Lines(
                "r_v: held-out reals between training reals and fakes",
                {"health/overfitting": "r_v"},
                limits=((DiscriminatorOverfits, "overfitting"),),
                level=(0, "no overfitting"),
                view=(-1.0, 2.0),
            ),
            Lines("logit of training reals less held-out ones", {"health/held_out_gap": "gap"}, level=(0, "none")),
        ),
    ),
    Theme(
        "Scores: what came of it?",
        "The star is the best of the monitored score, which best.ckpt holds. A curve that turns round says when the "
        "run should have ended.",
        (
            Lines("score", {"score/*": ""}, each=True),
            Lines(
                "monitored score: times as bad as the best",
                {"health/score_ratio": "ratio"},
                limits=((ScoreDegrades, "factor"),),
                level=(1, "the best"),
            ),
        ),
    ),
    Theme(
        "Singular values: how far can a layer stretch?",
        "The largest one of each layer's weight. Their product bounds how steep a network can be; values that grow "
        "without an end come before an explosion or a collapse.",
        (HeatMap("largest singular value by layer of the {network}", "singular_value/{network}/"),),
    ),
    Theme(
        "Losses and rates",
        "The losses of a GAN say little by themselves: they are the score of a game between two that both change. "
        "Steps in the rates are rollbacks.",
        (
            Lines("losses", {"loss/*": ""}),
            Lines("learning rates", {"rate/*": ""}, log=True),
        ),
    ),
)
