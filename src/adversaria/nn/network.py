"""What the networks of a GAN say of themselves beside their weights, each with a default.

`Generator` and `Discriminator` are the bases of the networks here. A network of a user's own may be a plain
``nn.Module``: `as_generator` and `as_discriminator` read what it says, and nothing else asks a network by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.nn.layers.codes import Codes


class Style(NamedTuple):
    """The two halves of a style-based generator (Karras et al. 2019, section 2).

    Attributes:
        mapping: ``mapping(z, labels) -> ws [N, L, W]``, a style for each of L layers.
        synthesis: ``synthesis(ws) -> samples [N, *spec.shape]``.
    """

    mapping: Callable[..., Tensor]
    synthesis: Callable[..., Tensor]


class Network(nn.Module):
    """What generators and discriminators have in common.

    Attributes:
        conditional: whether ``forward`` takes labels ``[N]``, or conditions.
        translates: whether what it takes are conditions ``[N, *spec.condition.shape]``, such as pictures to edit.
        codes: those behind the noise of a generator's latents, or those that a discriminator reads off the samples.
    """

    conditional: bool = False
    translates: bool = False
    codes: Codes | None = None

    def check(self, system: Any) -> None:
        """Looks at the system that the network is a part of, before training, and refuses what it cannot go with.

        Args:
            system: such as a `adversaria.systems.gan.GAN`.

        Raises:
            UserError: a network may; this one goes with everything.
        """


class Generator(Network):
    """Maps latents to samples: ``forward(z [N, latent_dim], labels [N] or None) -> [N, *spec.shape]``.

    Attributes:
        latent_dim: length of z, codes included; 0 is for a generator that translates without noise. What z is drawn
            from is the system's (`adversaria.nn.prior.Prior`).
        takes_truncation: whether ``forward`` takes ``truncation=psi``; else truncation draws numbers of z again.
    """

    latent_dim: int
    takes_truncation: bool = False

    @property
    def noise_dim(self) -> int:
        """How many numbers of z are noise; the codes stand behind them."""
        return self.latent_dim - (0 if self.codes is None else self.codes.dim)

    @property
    def style(self) -> Style | None:
        """The halves of a style-based generator; None for any other."""
        return None

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        """Latents ``[R, C, latent_dim]`` of pictures that show what a part of z means, by name; none by default.

        Args:
            columns: C of a picture that sweeps a number.
            draw: ``draw(n)`` gives latents ``[n, latent_dim]`` of the system's prior.
        """
        return {}


class Discriminator(Network):
    """Tells reals from fakes: ``forward(x [N, *spec.shape], labels [N] or None) -> DiscriminatorOutput``.

    Attributes:
        packing: how many samples it judges together: N samples get N / packing logits.
        mixes_samples: whether what it says of a sample depends on the others of the batch by something else than
            BatchNorm; any layer may say so (see `adversaria.nn.layers.mixes_samples`).
        num_class_logits: K, if ``class_logits [N, K]`` guess the label.
    """

    packing: int = 1
    mixes_samples: bool = False
    num_class_logits: int | None = None

    @property
    def stages(self) -> Sequence[nn.Module]:
        """Modules within it, the one nearest the sample first, whose outputs are middle features; none by default."""
        return ()


def stage_features(discriminator: nn.Module, stage: int, x: Tensor, labels: Tensor | None = None) -> Tensor:
    """What comes out of a stage of a discriminator; of what lies behind it nothing is computed.

    Args:
        discriminator: any whose `Discriminator.stages` are as many.
        stage: 1 is the one nearest the sample.
        x: samples ``[N, *spec.shape]``.
        labels: ``[N]`` if it is conditional.
    """

    def found(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _Found(output)

    hook = as_discriminator(discriminator).stages[stage - 1].register_forward_hook(found)
    try:
        discriminator(x, labels)
    except _Found as reached:
        return reached.features
    finally:
        hook.remove()
    raise RuntimeError(f"{type(discriminator).__name__} did not pass through its stage {stage}")


class _Found(Exception):  # no error: the way out of a pass that has gone far enough
    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


def as_generator(network: nn.Module) -> Generator:
    """``network`` itself, or what a plain ``nn.Module`` of a user's own says, with the defaults of `Generator`.

    Keep the answer in no attribute of a module: its weights would be saved twice.

    Raises:
        UserError: it draws its latents itself.
    """
    if hasattr(network, "sample_latent"):  # a user's own, of version 0.1
        raise UserError(
            f"{type(network).__name__} has a method sample_latent, which nothing calls any more: remove it and set "
            "latent_dim alone, for latents are drawn from model.latent"
        )
    if isinstance(network, Generator):
        return network
    return _PlainGenerator(network)


def as_discriminator(network: nn.Module) -> Discriminator:
    """``network`` itself, or what a plain ``nn.Module`` of a user's own says, with the defaults of `Discriminator`.

    Keep the answer in no attribute of a module: its weights would be saved twice.
    """
    return network if isinstance(network, Discriminator) else _PlainDiscriminator(network)


def _said(network: nn.Module, name: str, default: Any) -> Any:
    # a user's network derives from nothing of ours, so that each of its answers may be missing
    return getattr(network, name, default)


class _PlainGenerator(Generator):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.latent_dim = int(_said(network, "latent_dim", 0))
        self.conditional = bool(_said(network, "conditional", False))
        self.translates = bool(_said(network, "translates", False))
        self.codes = _said(network, "codes", None)
        self.takes_truncation = bool(_said(network, "takes_truncation", False))

    @property
    def style(self) -> Style | None:
        mapping, synthesis = (_said(self.network, half, None) for half in Style._fields)
        return None if mapping is None or synthesis is None else Style(mapping, synthesis)

    def forward(self, z: Tensor, labels: Tensor | None = None, **options: Any) -> Tensor:
        samples: Tensor = self.network(z, labels, **options)
        return samples

    def traversals(self, columns: int, draw: Callable[[int], Tensor]) -> Mapping[str, Tensor]:
        pictures: Callable[..., Mapping[str, Tensor]] = _said(self.network, "traversals", super().traversals)
        return pictures(columns, draw)

    def check(self, system: Any) -> None:
        _said(self.network, "check", super().check)(system)


class _PlainDiscriminator(Discriminator):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.conditional = bool(_said(network, "conditional", False))
        self.translates = bool(_said(network, "translates", False))
        self.codes = _said(network, "codes", None)
        self.packing = int(_said(network, "packing", 1))
        self.mixes_samples = bool(_said(network, "mixes_samples", False))
        self.num_class_logits = _said(network, "num_class_logits", None)

    @property
    def stages(self) -> Sequence[nn.Module]:
        return tuple(_said(self.network, "stages", ()))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        return self.network(x, labels)

    def check(self, system: Any) -> None:
        _said(self.network, "check", super().check)(system)
