"""Three ways to give labels to networks of any architecture that take none.

A generator learns of classes by its BatchNorm; a discriminator by a projection (Miyato & Koyama 2018, "cGANs with
Projection Discriminator") or by an auxiliary classifier (Odena et al. 2017, "Conditional Image Synthesis with Auxiliary
Classifier GANs"). Each encloses the network that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec, DiscriminatorOutput
from adversaria.nn.layers import ConditionalBatchNorm, check_labels, class_count, label_arguments
from adversaria.nn.layers import spectral_norm as normalise_spectrally
from adversaria.nn.wrappers.enclosing import (
    EnclosingDiscriminator,
    EnclosingGenerator,
    example_output,
    feature_dim,
    give_labels,
)


class ClassNormGenerator(EnclosingGenerator):
    """Any generator with BatchNorm whose gain and bias follow the class (Miyato & Koyama 2018, section 4).

    Each BatchNorm1d and BatchNorm2d with gain and bias is replaced; all classes start with those of the layer, so that
    at first the samples are those of the enclosed generator.

    Args:
        spec: of the data.
        network: called with ``spec``, gives the generator.

    Raises:
        UserError: the data has no labels, or the generator takes labels itself or has no such BatchNorm.
    """

    def __init__(self, *, spec: DataSpec, network: Callable[..., nn.Module]) -> None:
        super().__init__(network(spec=spec))
        give_labels(self, "model.generator")
        classes = class_count(spec)
        norms = {
            norm: ConditionalBatchNorm.replacing(norm, classes)
            for norm in self.network.modules()
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.affine
        }
        if not norms:
            raise UserError(
                f"model.generator.network={type(self.network).__name__} has no BatchNorm with gain and bias that could "
                "follow the class: choose another one, as in generator@model.generator.network=dcgan"
            )
        for name, module in [*self.network.named_modules(remove_duplicate=False)]:
            if module in norms:
                self.network.set_submodule(name, norms[module])

    def forward(self, z: Tensor, labels: Tensor | None = None, **options: Any) -> Tensor:
        """``z [N, latent_dim]``, ``labels [N]`` -> samples ``[N, *spec.shape]``; ``options`` such as a truncation."""
        with self._labelled(*label_arguments(labels, conditional=True)):
            samples: Tensor = self.network(self.inner_latents(z), **options)
        return samples

    def inner_latents(self, z: Tensor) -> Tensor:
        """``z`` itself."""
        return z

    @property
    def style(self) -> None:
        """None: the halves of the enclosed generator are not given the labels that its norms follow."""
        return None

    @contextmanager
    def _labelled(self, labels: Tensor) -> Iterator[None]:
        """Inside the block each norm, which the network calls with its input alone, is given ``labels`` as well.

        By hooks that do not outlast the pass, so that no layer keeps a batch that a copy or another pass could meet.
        """

        def append(norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (*inputs, labels)

        norms = [module for module in self.network.modules() if isinstance(module, ConditionalBatchNorm)]
        hooks = [norm.register_forward_pre_hook(append) for norm in norms]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class ProjectedDiscriminator(EnclosingDiscriminator):
    """Any discriminator with the inner product of its features and a vector of the class added to its logits.

    Miyato & Koyama 2018, section 3: ``f(x, y) = v_y . phi(x) + psi(phi(x))``. The vectors start from Glorot & Bengio's
    uniform distribution.

    Args:
        spec: of the data.
        network: called with ``spec``, gives the discriminator, whose output must have features.
        spectral_norm: of the table of vectors, for a discriminator that is spectrally normalised itself.

    Raises:
        UserError: the data has no labels, or the discriminator takes labels itself or gives no features.
    """

    def __init__(self, *, spec: DataSpec, network: Callable[..., nn.Module], spectral_norm: bool = False) -> None:
        super().__init__(network(spec=spec))
        give_labels(self, "model.discriminator")
        self.projection = nn.Embedding(class_count(spec), feature_dim(network, spec))
        nn.init.xavier_uniform_(self.projection.weight)
        if spectral_norm:
            normalise_spectrally(self.projection)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]``, ``labels [N]`` -> what the enclosed discriminator says, and the projection with it.

        Of a discriminator that judges patches each logit moves by the same amount.
        """
        condition = label_arguments(labels, conditional=True)
        output: DiscriminatorOutput = self.network(x)
        score = (self.projection(*condition) * output.features).sum(dim=1)  # [N]
        score = score.reshape(-1, *[1] * (output.logits.ndim - 1))  # [N, 1, ...]
        return output._replace(logits=output.logits + score)


class ClassifyingDiscriminator(EnclosingDiscriminator):
    """Any discriminator with a linear layer on its features that guesses the class (Odena et al. 2017, section 4).

    It does not look at the labels that it is given: they are what ``regulariser=auxiliary_classifier`` compares its
    guesses with. The layer starts from Glorot & Bengio's uniform distribution, its biases at zero.

    Args:
        spec: of the data.
        network: called with ``spec``, gives the discriminator, whose output must have features.

    Raises:
        UserError: the data has no labels, or the discriminator takes labels itself, gives no features or guesses
            something else already.
    """

    def __init__(self, *, spec: DataSpec, network: Callable[..., nn.Module]) -> None:
        super().__init__(network(spec=spec))
        give_labels(self, "model.discriminator")
        if example_output(network, spec).class_logits is not None:
            raise UserError(
                f"model.discriminator.network={type(self.network).__name__} guesses something else already: choose "
                "another one, as in discriminator@model.discriminator.network=dcgan"
            )
        self.num_class_logits = class_count(spec)
        self.classifier = nn.Linear(feature_dim(network, spec), self.num_class_logits)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """``x [N, *spec.shape]``, ``labels [N]`` -> what the enclosed discriminator says, and ``class_logits [N, K]``.

        Raises:
            ValueError: there are no labels.
        """
        check_labels(labels, conditional=True)
        output: DiscriminatorOutput = self.network(x)
        return output._replace(class_logits=self.classifier(output.features))
