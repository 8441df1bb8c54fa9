"""What every system's training step shares: seeding, counting, finiteness and logging, apart from the objective.

Lightning counts each optimizer step, draws no line between networks and logs one step late; what works around that
stands here and nowhere else.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.seeding import seed_step
from adversaria.core.types import Batch, DataSpec, FailureDetector
from adversaria.objectives.game import Game
from adversaria.systems.optim import Optim
from adversaria.systems.parts import DrawsInputs
from adversaria.systems.shortcuts import Shortcuts

if TYPE_CHECKING:
    from adversaria.data.module import DataModule


class RunningLoss:
    """Keeps losses on the device until one reading covers all: NaN and infinity stay in their sum."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    def add(self, *losses: Tensor) -> None:
        """Takes scalars; no synchronisation, and nothing to launch."""
        self._losses.extend(loss.detach() for loss in losses)

    def is_finite(self) -> bool:
        """Whether every loss since the last call was finite; waits for the device."""
        losses, self._losses = self._losses, []
        return not losses or math.isfinite(float(torch.stack(losses).sum()))


class Stopwatch:
    """Training time: it runs during `Trainer.fit`, except while evaluation, pictures and checkpoints take theirs."""

    def __init__(self) -> None:
        self._before = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._before + (0.0 if self._started is None else time.perf_counter() - self._started)

    def set(self, seconds: float) -> None:
        """Stands still at ``seconds``."""
        self._before, self._started = seconds, None

    def start(self) -> None:
        """Runs on."""
        self.set(self.seconds)
        self._started = time.perf_counter()

    def stop(self) -> None:
        """Stands still."""
        self.set(self.seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stands still inside the block."""
        running = self._started is not None
        self.stop()
        try:
            yield
        finally:
            if running:
                self.start()


def all_finite(module: nn.Module) -> bool:
    """Whether every parameter and buffer of ``module`` is finite; waits for the device once."""
    tensors = [t.detach() for t in module.state_dict().values() if t.is_floating_point()]
    return not tensors or bool(torch.isfinite(torch.stack(torch._foreach_norm(tensors)).sum()))


class SteppedModule(Shortcuts, DrawsInputs, ABC):
    """The base of every system: one `training_step` is one generator update.

    A system sets ``prior``, what its sampler's latents are drawn from, in its ``__init__``: `Prior.of` its generator.

    Args:
        spec: of the data.
        optim: optimizers, schedule and how often D steps.
        seed: of the run.
    """

    batches_per_step = 1
    conditional = False
    #: roles of the networks that are optimised, which are also the names of these attributes, in the order of their
    #: optimizers, one each; an optimizer may train others besides (a VAE's trains the encoder too). What is logged of a
    #: network or an optimizer has its role in its name
    network_names: tuple[str, ...] = ("generator",)
    #: role of the network that samples are taken from; a checkpoint is loaded for sampling by building this one, and
    #: the encoder
    sampler_name: str = "generator"
    #: role of the network that gives the posterior of a sample's latent (see `adversaria.nn.posterior`), which is
    #: averaged as the sampler is; None: there is none
    encoder_name: str | None = None
    trainer: Any

    def __init__(self, *, spec: DataSpec, optim: Optim, seed: int) -> None:
        super().__init__()
        if optim.encoder is not None and self.encoder_name not in self.network_names:
            raise UserError(
                f"optim.encoder is for a model that optimises an encoder by itself, which {type(self).__name__} does "
                "not; leave it out, or choose model=vae_gan"
            )
        self.automatic_optimization = False
        self.spec, self.optim, self.seed = spec, optim, seed
        #: each time that the run was put back to an earlier state: what happened, and by what its rates and penalties
        #: have been multiplied since (see `adversaria.training.rollback`)
        self.rollbacks: list[dict[str, Any]] = []
        #: number of the update in progress, and whether its values are logged
        self.update, self.log_due = 0, False
        #: how far the run was when the update in progress began
        self.now = Progress(0, 1, 0, 1)
        #: what the training step's own passes call: the networks, or their compiled forms
        self.forwards: dict[str, Callable[..., Any]] = {}
        self._restored_step: int | None = None
        #: whether training has begun, with everything in place that a checkpoint brought
        self.begun = False
        self.running_loss = RunningLoss()
        self.clock = Stopwatch()
        #: values of the last logged step, on the device
        self.step_values: dict[str, Tensor] = {}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks of `network_names` by their roles, in this order."""
        return {role: self._network(role) for role in self.network_names}

    @property
    def sampler(self) -> nn.Module:
        """The network that samples are taken from, and whose weights are averaged; it may hold several."""
        return self._network(self.sampler_name)

    @property
    def encoding(self) -> nn.Module | None:
        """The network under `encoder_name`, if there is one."""
        return None if self.encoder_name is None else self._network(self.encoder_name)

    def _network(self, role: str) -> nn.Module:
        try:
            return self.get_submodule(role)
        except AttributeError as error:
            raise UserError(
                f"{type(self).__name__} says that {role} is one of its networks and has no such attribute; set it in "
                "__init__, or correct network_names, sampler_name and encoder_name"
            ) from error

    def optimizers_by_role(self) -> dict[str, Optimizer]:
        """The optimizers of the networks in `network_names`, by their roles.

        Raises:
            UserError: there are more or fewer than networks.
        """
        optimizers: list[Optimizer] = self.trainer.optimizers
        if len(optimizers) != len(self.network_names):
            raise UserError(
                f"{type(self).__name__} has {len(optimizers)} optimizers for the networks "
                f"{', '.join(self.network_names)}; give one for each in configure_optimizers, in this order"
            )
        return dict(zip(self.network_names, optimizers, strict=True))

    @property
    def game(self) -> Game | None:
        """What D plays against G, for what is measured of D and its loss; None: a system without D."""
        return None

    def suits(self, detector: FailureDetector) -> bool:
        """Whether what ``detector`` looks for is a failure of this system; everything is unless a system says so.

        Detectors of networks that it does not have are left out without being asked about. A system of pairs, whose G
        has little to vary once the condition is given: ``return "diversity/spread" not in detector.needs``. A system of
        your own may ask for the class: ``return not isinstance(detector, GeneratorCollapse)``.
        """
        return True

    def replace_forward(self, name: str, forward: Callable[..., Any]) -> None:
        """Has the training step call ``forward``, which computes the same, where it called ``forwards[name]``."""
        self.forwards[name] = forward

    @property
    def datamodule(self) -> DataModule:
        """The data module that the trainer runs with."""
        return self.trainer.datamodule  # type: ignore[no-any-return]

    @property
    def images_seen(self) -> int:
        """Reals shown so far, over all devices."""
        return self.progress().images

    def progress(self) -> Progress:
        """How far the run is, in updates and images."""
        done, updates = self.global_step, self.trainer.max_steps
        per_update = self.batches_per_step * self.datamodule.batch_size * self.trainer.world_size
        return Progress(done, updates, done * per_update, updates * per_update)

    def rollback_factor(self, name: Literal["rate_factor", "penalty_factor"]) -> float:
        """The product of this factor over all rollbacks; 1 before the first."""
        return math.prod(float(record[name]) for record in self.rollbacks)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the rollbacks, which with the config make the run, and the training time."""
        checkpoint |= {"rollbacks": self.rollbacks, "seconds": self.clock.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        self.rollbacks = checkpoint.get("rollbacks", [])
        earlier = checkpoint["callbacks"].get("Statistics", {}).get("seconds", 0.0)  # where version 0.1 kept it
        self.clock.set(float(checkpoint.get("seconds", earlier)))
        self._restored_step = int(checkpoint["global_step"])

    def previews(self, reals: Tensor) -> dict[str, Tensor]:
        """No pictures besides samples, unless a system has some."""
        return {}

    def on_train_start(self) -> None:
        """Starts the clock, once everything is in place that a checkpoint brought."""
        super().on_train_start()
        self._check_restored()
        self.clock.start()
        self.begun = True

    def _check_restored(self) -> None:
        """Raises ValueError if a checkpoint did not bring what it says, or moments of other shapes than the weights."""
        if self._restored_step not in (None, self.global_step):
            raise ValueError(f"its loops are after {self.global_step} updates, its weights after {self._restored_step}")
        for optimizer in self.trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    whole = (
                        isinstance(value, Tensor) and value.ndim and name not in ("row_var", "col_var")
                    )  # Adafactor's
                    if whole and value.shape != parameter.shape:
                        raise ValueError(f"{name} of an optimizer has shape {tuple(value.shape)}")

    def beside(self, x: Tensor, y: Tensor | None, generator: torch.Generator | None = None) -> Tensor | None:
        """What the networks are given beside reals ``x``: their labels, their conditions, or nothing.

        Args:
            x: reals ``[N, *shape]`` as the networks see them.
            y: what the data has beside them.
            generator: of what is random in conditions, on the CPU; None: torch's global state.
        """
        if not self.conditional:
            return None
        return y if self.pairing is None else self.pairing(x, generator)

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One generator update, between `begin_step` and `end_step`.

        Args:
            batch: ``batches_per_step`` times ``data.batch_size`` reals, as they are stored.
            batch_idx: Lightning's, which says nothing here.
        """

    def begin_step(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Seeds, sets the learning rates, and gives the reals ``[n, *shape]`` float and what the data has beside them:
        labels ``[n]`` or conditions.
        """
        self.update = update = self.global_step
        self.log_due = (update + 1) % self.trainer.log_every_n_steps == 0
        seed_step(self.seed, self.global_rank, update, len(self.rollbacks), self.device)
        self.now = self.progress()
        self.optim.set_rates(self.trainer.optimizers, self.now, self.rollback_factor("rate_factor"))
        return self.datamodule.decode(batch)

    def end_step(self, losses: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Keeps ``losses`` for the check of finiteness; those and ``values`` for the loggers, if they are due."""
        self.running_loss.add(*losses.values())
        if self.log_due:
            self.step_values = {name: value.detach() for name, value in {**losses, **values}.items()}

    def backward_part(self, loss: Tensor, **keywords: Any) -> Tensor:
        """Adds the gradients of one of ``optim.accumulate`` microbatches; returns its share of the loss, detached.

        ``keywords`` are those of `Tensor.backward`.
        """
        if self.optim.accumulate > 1:
            loss = loss / self.optim.accumulate
        self.differentiate(loss, **keywords)
        return loss.detach()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips the gradients, unscaled by now, to ``optim.clip_norm``."""
        if self.optim.clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.optim.clip_norm)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: the validation loop gives callbacks their turn."""

    def log_values(self, values: Mapping[str, float]) -> None:
        """Writes ``values`` to every logger at the number of generator updates done."""
        for logger in self.loggers:
            logger.log_metrics(dict(values), step=self.global_step)


def sum_of(losses: list[Tensor]) -> Tensor:
    """The sum of scalars; the scalar itself if there is one."""
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()
