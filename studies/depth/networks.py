"""The networks that `depth.py` compares: one of ``experiment=depth_*`` and overrides each."""

from __future__ import annotations

from dataclasses import dataclass

from studies.depth.theory import batch_norm_factor, factor, spectral_norm_factor

#: mean square of the digits, whose pixels are in [-1, 1]
PIXELS = 0.72


@dataclass(frozen=True)
class Variant:
    """A line of the figure.

    Attributes:
        name: in the legend.
        overrides: of `train.py`, without the depth.
        field: by which the depth is set.
        depths: how many layers with weights G and D have, and the value of the field that gives as many.
        predicted: the factor of a layer on the error that passes it backwards, if theory has one.
    """

    name: str
    overrides: tuple[str, ...]
    field: str
    depths: dict[int, int]
    predicted: float | None = None

    def at(self, layers: int) -> tuple[str, ...]:
        """The overrides of the network with so many layers."""
        return (*self.overrides, f"model.generator.{self.field}={self.depths[layers]}")


@dataclass(frozen=True)
class Row:
    """A question, and the networks that answer it.

    Attributes:
        title: of the row.
        variants: one line each.
        limits: of the vertical axis, powers of ten.
        updates: of the deepest networks.
        trained: whether the depths are compared after the updates instead of at the first.
    """

    title: str
    variants: tuple[Variant, ...]
    limits: tuple[float, float]
    updates: int = 100
    trained: bool = False


DENSE = {3: 2, 5: 4, 9: 8, 17: 16, 33: 32}
SHORTCUTS = {4: 1, 6: 2, 10: 4, 18: 8, 34: 16}
MAPS = {3: 0, 7: 1, 11: 2, 19: 4, 35: 8}


def dense(name: str, activation: str, init: str, gain: float = 1.0) -> Variant:
    """A plain fully connected network, and what theory says of it."""
    fields = {"activation": activation, "init": init, "init_gain": gain}
    overrides = ("experiment=depth_plain", *(f"model.generator.{key}={value}" for key, value in fields.items()))
    predicted = factor(activation, init, gain, width=64, depth=32, start=PIXELS)
    return Variant(name, overrides, "depth", DENSE, predicted)


def shortcuts(name: str, activation: str, init: str) -> Variant:
    """A fully connected one with shortcuts."""
    overrides = (
        "experiment=depth_residual",
        f"model.generator.activation={activation}",
        f"model.generator.init={init}",
    )
    return Variant(name, overrides, "depth", SHORTCUTS)


def maps(name: str, convolution: str, init: str, norm: str, blocks: str, predicted: float | None = None) -> Variant:
    """A convolutional one, of blocks with or without shortcuts."""
    fields: dict[str, object] = {"init": init, "norm": norm}
    if blocks != "plain_blocks":
        fields["plain_blocks"] = 0
    experiment = {"plain": "depth_norm", "separable": "depth_separable"}[convolution]
    overrides = (f"experiment={experiment}", *(f"model.generator.{key}={value}" for key, value in fields.items()))
    return Variant(name, overrides, blocks, MAPS, predicted)


def constrained(name: str, experiment: str, *overrides: str, predicted: float | None = None) -> Variant:
    """A fully connected one whose D starts with weights of 1.5 times He's size."""
    large = ("model.generator.init=he", "model.discriminator.init_gain=1.5")
    return Variant(name, (f"experiment=depth_{experiment}", *large, *overrides), "depth", DENSE, predicted)


ROWS = (
    Row(
        "activation\n(Xavier's start)",
        tuple(
            dense(name, name, "xavier")
            for name in ("sigmoid", "silu", "gelu", "relu", "leaky_relu", "elu", "tanh", "selu")
        ),
        (-30, 4),
    ),
    Row(
        "start of the weights\n(LeakyReLU)",
        (
            dense("PyTorch's default", "leaky_relu", "default"),
            dense("Xavier", "leaky_relu", "xavier"),
            dense("orthogonal", "leaky_relu", "orthogonal"),
            dense("He", "leaky_relu", "he"),
            dense("1.5 x He", "leaky_relu", "he", 1.5),
            dense("2 x He", "leaky_relu", "he", 2.0),
        ),
        (-28, 14),
    ),
    Row(
        "shortcuts",
        (
            dense("plain, sigmoid", "sigmoid", "default"),
            shortcuts("residual, sigmoid", "sigmoid", "default"),
            dense("plain, LeakyReLU", "leaky_relu", "default"),
            shortcuts("residual, LeakyReLU", "leaky_relu", "default"),
            shortcuts("residual, He", "leaky_relu", "he"),
        ),
        (-30, 6),
    ),
    Row(
        "convolutions\n(no norm)",
        (
            maps("plain, N(0, 0.02)", "plain", "default", "none", "plain_blocks"),
            maps("separable, N(0, 0.02)", "separable", "default", "none", "plain_blocks"),
            maps("plain, He", "plain", "he", "none", "plain_blocks"),
            maps("separable, He", "separable", "he", "none", "plain_blocks"),
            maps("residual, N(0, 0.02)", "plain", "default", "none", "residual_blocks"),
            maps("residual, He", "plain", "he", "none", "residual_blocks"),
            maps("residual separable, He", "separable", "he", "none", "residual_blocks"),
        ),
        (-32, 5),
        updates=40,
    ),
    Row(
        "norm of convolutions\n(from N(0, 0.02))",
        (
            maps("none", "plain", "default", "none", "plain_blocks"),
            maps("pixel", "plain", "default", "pixel", "plain_blocks"),
            maps("instance", "plain", "default", "instance", "plain_blocks"),
            maps("layer", "plain", "default", "layer", "plain_blocks"),
            maps("group", "plain", "default", "group", "plain_blocks"),
            maps("batch", "plain", "default", "batch", "plain_blocks", batch_norm_factor(0.2)),
            maps("batch, residual", "plain", "default", "batch", "residual_blocks"),
        ),
        (-4, 5),
        updates=40,
    ),
    Row(
        "constraints on a D\nthat starts at 1.5 x He",
        (
            constrained("none", "plain"),
            constrained("gradients clipped to 1", "clipping"),
            constrained("weight decay 0.1", "weight_decay"),
            constrained("spectral norm", "spectral_norm", predicted=spectral_norm_factor(0.2)),
            constrained("weights clipped to 0.1", "weight_clipping", "loss=nonsaturating"),
            constrained(
                "weights clipped to 0.2",
                "weight_clipping",
                "loss=nonsaturating",
                "regulariser.weight_clipping.limit=0.2",
            ),
        ),
        (-18, 9),
        trained=True,
    ),
)
