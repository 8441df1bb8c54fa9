"""Translation without a judge: what an adversarial loss has to be compared with."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import Seed
from adversaria.core.types import Batch, DataSpec
from adversaria.nn.network import as_generator
from adversaria.nn.prior import Prior
from adversaria.systems.base import SteppedModule
from adversaria.systems.optim import Optim, make_optimizer
from adversaria.systems.pairing import Pairing


class Regression(SteppedModule):
    """A network that edits what it is given, trained by the mean absolute error alone.

    It is pix2pix without its discriminator (Isola et al. 2017, table 1, row "L1"): as faithful as can be, and blurred
    where several answers are possible.

    Args:
        spec: of the data, with its condition.
        generator: maps ``z [N, latent_dim]`` and conditions ``[N, *spec.condition.shape]`` to ``[N, *spec.shape]``.
        optim: the optimizer under ``generator``.
        seed: of the run.
        pairing: makes the conditions of the samples inside of the step; None: the data has them.

    Raises:
        UserError: a generator that does not translate, or settings of D's steps.
    """

    conditional = True

    def __init__(
        self, *, spec: DataSpec, generator: nn.Module, optim: Optim, seed: Seed, pairing: Pairing | None = None
    ) -> None:
        super().__init__(spec=spec, optim=optim, seed=seed)
        if not as_generator(generator).translates:
            raise UserError(
                "model.generator takes no conditions, so that there is nothing to edit; choose another generator, as "
                "generator=editing_unet"
            )
        if optim.n_critic != 1 or optim.accumulate != 1 or optim.generator_batch is not None:
            raise UserError(
                "optim.n_critic, optim.accumulate and optim.generator_batch are for GANs; leave them out of a "
                "regression"
            )
        self.generator, self.pairing = generator, pairing
        self.prior = Prior.of(generator)
        self.forwards = {"generator": generator}

    def configure_optimizers(self) -> Optimizer:
        """The generator's."""
        scaled = self.trainer.precision == "16-mixed"
        return make_optimizer(self.optim.generator, self.parameters(), scaled_gradients=scaled)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One update."""
        x, y = self.begin_step(batch)
        y = self.beside(x, y)
        z = self.prior.draw(len(x), device=x.device).to(x.dtype)
        loss = F.l1_loss(self.forwards["generator"](z, y).float(), x)
        self.backward_part(loss)
        self.step_counted(self.optimizers())
        self.end_step({"loss/generator": loss}, {})
