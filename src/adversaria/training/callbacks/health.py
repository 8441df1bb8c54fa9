"""A run's health: measured beside the training, and put into words when it fails."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from adversaria.core.errors import UserError
from adversaria.core.ranges import Count, Seed
from adversaria.core.ranks import sum_over_ranks
from adversaria.health import (
    Detector,
    Examination,
    Finding,
    Probe,
    applicable,
    gradient_profile,
    singular_values,
    unsuited,
)
from adversaria.nn.network import as_discriminator
from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.evaluation import Evaluation
from adversaria.training.callbacks.lookup import callback_of
from adversaria.training.callbacks.statistics import Statistics

log = logging.getLogger("adversaria")

#: what the training step itself says of its health
_LOGGED = ("logits/", "loss/", "reconstruction/")


class Health(Callback):
    """Takes a reading every ``every_n_steps`` generator updates and shows it to the detectors.

    ``gradient_peak/*`` is the largest gradient norm of any step since the last reading, before clipping and without
    biases and other vectors, which would double the time it takes; all other values belong to the step of the reading:
    ``nonfinite_share/*`` of the gradient, ``update_ratio/*`` (the norm of the last optimizer step's change over that
    of the weights), ``gradient_profile/<network>/<layer>``, and what `adversaria.health.Probe` measures. They are
    read from the device at once, and nothing in between: training is the same bit for bit with and without.

    Args:
        every_n_steps: from one reading to the next; taken at the first logged step that is due.
        samples: reals, held-out reals and fakes that the networks are probed with.
        seed: of these.
        singular_values: whether each layer's largest one is measured too, ``singular_value/<network>/<layer>``.
        detectors: by name; see `adversaria.health.detectors`. Left out are those that speak of networks which the
            system does not have, and those that do not suit it or the modality of its samples (``suits``).

    Raises:
        UserError: a value out of range.
    """

    def __init__(
        self,
        *,
        every_n_steps: Count = 200,
        samples: Count = 64,
        seed: Seed = 0,
        singular_values: bool = False,
        detectors: Mapping[str, Detector] | None = None,
    ) -> None:
        if every_n_steps < 1:
            raise UserError(f"callbacks.health.every_n_steps={every_n_steps} must be at least 1")
        if samples < 2:
            raise UserError(f"callbacks.health.samples={samples} must be at least 2, to measure distances")
        self.every_n_steps, self.samples, self.seed = every_n_steps, samples, seed
        self.singular_values = singular_values
        self.detectors = dict(detectors or {})
        self.examination = Examination(self.detectors)
        self._probe: Probe | None = None
        self._statistics: Statistics | None = None
        #: of each network and each step since the last reading: the norms of its weights' gradients
        self._norms: dict[str, list[Sequence[Tensor]]] = {}
        self._values: dict[str, Tensor] = {}
        #: of each optimizer: the name of its network, and those of its parameters with two dimensions or more
        self._stepped: dict[int, tuple[str, list[nn.Parameter]]] = {}
        #: of each network: its parameters and what they were before the last optimizer step
        self._before: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        self._restored: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Readings, findings, and the peaks since the last reading."""
        peaks = {name: float(_largest(norms)) for name, norms in self._norms.items() if norms}
        return {"examination": self.examination.state_dict(), "peaks": peaks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.examination.load_state_dict(state_dict["examination"])
        self._restored = {name: torch.tensor(value) for name, value in state_dict["peaks"].items()}

    def setup(self, trainer: Trainer, pl_module: SteppedModule, stage: str) -> None:
        """Leaves out the detectors that have nothing to say of this system."""
        out = unsuited(self.detectors, pl_module)
        self.examination = Examination(applicable(self.detectors, pl_module.network_names, out))

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Chooses the samples of the probe."""
        data, game = pl_module.datamodule, pl_module.game
        packing = as_discriminator(game.discriminator).packing if game is not None else 1
        count = min(self.samples, len(data.split("train")))
        dtype = next(pl_module.sampler.parameters()).dtype
        self._probe = Probe(
            pl_module, data, count=count - count % packing, seed=self.seed, device=pl_module.device, dtype=dtype
        )
        self._statistics = callback_of(trainer, Statistics)
        self._norms = {name: [] for name in pl_module.network_names}
        for name, peak in self._restored.items():
            self._norms[name] = [[peak.to(pl_module.device)]]
        # Looked up at each step: by Lightning's properties that would cost a small model a twentieth of it.
        for name, optimizer in pl_module.optimizers_by_role().items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self._stepped[id(optimizer)] = name, [p for p in parameters if p.dim() > 1] or parameters

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: SteppedModule, optimizer: Optimizer) -> None:
        """Looks at the gradient of the network that is about to step."""
        network, weights = self._stepped[id(optimizer)]
        gradients = [w.grad for w in weights if w.grad is not None]
        self._norms[network].append(torch._foreach_norm(gradients))  # what they come to waits for the reading
        if pl_module.log_due and self._due(trainer, pl_module.update + 1):
            parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self._look(network, pl_module.networks[network], parameters)

    @torch.no_grad()
    def _look(self, network: str, module: nn.Module, parameters: list[nn.Parameter]) -> None:
        """What a reading needs of the gradients, and of the weights before they change."""
        self._before[network] = [p.detach() for p in parameters], [p.detach().clone() for p in parameters]
        gradient = torch.cat([p.grad.flatten() for p in parameters])  # type: ignore[union-attr]
        self._values[f"nonfinite_share/{network}"] = 1 - torch.isfinite(gradient).float().mean()
        if profile := gradient_profile(module):
            norms = torch.stack(list(profile.values()))
            self._values[f"gradient_profile/{network}_ratio"] = norms.min() / norms.max()
            self._values |= _by_layer(f"gradient_profile/{network}", profile)

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Takes a reading when it is due."""
        if self._due(trainer, trainer.global_step) and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            reading = self._read(trainer, pl_module)
            pl_module.log_values(reading)
            latest = self._statistics.latest if self._statistics is not None else {}
            logged = {name: value for name, value in latest.items() if name.startswith(_LOGGED)}
            self._examine({**logged, **reading, "step": float(trainer.global_step)})

    def on_validation_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Compares the score with the best one so far."""
        evaluation = callback_of(trainer, Evaluation)
        if evaluation is None or evaluation.step != trainer.global_step:
            return
        reading = {"health/score_ratio": evaluation.behind_best()}
        if math.isfinite(reading["health/score_ratio"]):
            pl_module.log_values(reading)
            self._examine({**reading, "step": float(trainer.global_step)})

    def note(self, finding: Finding) -> None:
        """Adds what showed outside of a reading."""
        if self.examination.add(finding):
            log.warning("%s", self.examination.in_words(finding))

    def _due(self, trainer: Trainer, step: int) -> bool:
        """Whether logged ``step`` is the first one since a multiple of the interval."""
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        return step // self.every_n_steps > (step - interval) // self.every_n_steps

    @torch.no_grad()
    def _read(self, trainer: Trainer, pl_module: SteppedModule) -> dict[str, float]:
        """All values at once, averaged over the devices, so that all of them decide alike."""
        assert self._probe is not None
        values = self._values | {f"gradient_peak/{name}": _largest(norms) for name, norms in self._norms.items()}
        for name, (weights, before) in self._before.items():
            moved = get_total_norm(torch._foreach_sub(weights, before))
            values[f"update_ratio/{name}"] = moved / get_total_norm(before)
            if self.singular_values:
                values |= _by_layer(f"singular_value/{name}", singular_values(pl_module.networks[name]))
        with torch.enable_grad(), trainer.precision_plugin.forward_context():  # as the training computes
            values |= self._probe(pl_module)
        self._values, self._before = {}, {}
        self._norms = {name: [] for name in self._norms}
        host = sum_over_ranks(torch.stack([value.float() for value in values.values()])) / trainer.world_size
        return dict(zip(values, host.tolist(), strict=True))

    def _examine(self, reading: Mapping[str, float]) -> None:
        for finding in self.examination.observe(reading):
            log.warning("%s", self.examination.in_words(finding))


def _by_layer(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbered, so that the order survives sorting by name."""
    return {f"{prefix}/{k:02d}_{name}": value for k, (name, value) in enumerate(values.items())}


def _largest(norms: list[Sequence[Tensor]]) -> Tensor:
    """The largest norm of a whole gradient, of those of its tensors in each of some steps; NaN if one is."""
    each = torch.stack([norm for step in norms for norm in step])
    step = torch.arange(len(norms)).repeat_interleave(torch.tensor([len(tensors) for tensors in norms]))
    squares = each.new_zeros(len(norms)).index_add(0, step.to(each.device), each.square())
    return squares.sqrt().amax()
