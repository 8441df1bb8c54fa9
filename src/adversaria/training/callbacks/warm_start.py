"""Training that begins with the weights of another model: of other data, of another number of classes."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.nn.utils import parametrize

from adversaria.config.admission import Trust
from adversaria.core.errors import UserError
from adversaria.core.modes import evaluating
from adversaria.core.ranges import Amount
from adversaria.core.types import DataSpec
from adversaria.nn.network import as_discriminator
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.runs.folder import Run
from adversaria.sampling.restore import check_objective
from adversaria.systems.base import SteppedModule

log = logging.getLogger("adversaria")

_PARAMETRISED = ".parametrizations."


class WarmStart(Callback):
    """Takes the networks' tensors of equal name and shape from a checkpoint before the first update of a run.

    Buffers go along: BatchNorm's statistics, the singular vectors of spectral normalisation (with their weight or not
    at all). What has no counterpart, such as the embeddings of another number of classes, is left as it is
    initialised and named in the log. A run that goes on takes nothing: its own checkpoint holds everything.

    ``freeze_layers`` is FreezeD (Mo et al. 2020, "Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs"):
    the layers of D nearest the image, whose features suit other images too, are not trained, in a run that goes on
    neither. Running statistics and singular vectors in them move on.

    Args:
        checkpoint: the folder of a run (its last checkpoint), or a checkpoint file; nothing in it is executed.
        weights: of the generator and of an encoder: their average where the checkpoint has one (``ema``), or those last
            trained.
        freeze_layers: how many layers of D with a weight matrix or a kernel, in the order in which an image passes
            them, are frozen; what follows them up to the next one, such as a normalisation, with them.
        trust: whose code the checkpoint's config may name, though none of it is built; the run gives it.

    Raises:
        UserError: no checkpoint is given, or a value is out of range.
    """

    def __init__(
        self,
        *,
        checkpoint: str | None = None,
        weights: Literal["ema", "raw"] = "ema",
        freeze_layers: Amount = 0,
        trust: Trust | None = None,
    ) -> None:
        if checkpoint is None:
            raise UserError("callbacks.warm_start.checkpoint is null: give the folder of a run or a checkpoint")
        if weights not in ("ema", "raw"):
            raise UserError(f"callbacks.warm_start.weights={weights} must be ema or raw")
        if freeze_layers < 0:
            raise UserError(f"callbacks.warm_start.freeze_layers={freeze_layers} must not be negative")
        self.checkpoint, self.weights, self.freeze_layers = checkpoint, weights, freeze_layers
        self.trust = trust or Trust()

    def setup(self, trainer: Trainer, pl_module: SteppedModule, stage: str) -> None:
        """Before the networks go to their device, are averaged, or get optimizers."""
        if not Run(trainer.default_root_dir).last.is_file():
            self.take(pl_module)
        if self.freeze_layers:
            self.freeze(pl_module)

    @torch.no_grad()
    def take(self, system: SteppedModule) -> None:
        """Copies what fits into the networks of ``system``.

        Raises:
            UserError: the file is no checkpoint, or shares no weight with these networks.
        """
        assert self.checkpoint is not None
        own, checkpoint = _network_tensors(system), read_checkpoint(self.checkpoint)
        check_objective(checkpoint["config"], self.trust.packages)
        found = _stored(checkpoint, system, self.weights)
        taken = _fitting(own, found)
        if not any(own[name].ndim > 1 for name in taken):
            raise UserError(
                f"callbacks.warm_start.checkpoint={self.checkpoint} shares no weight with these networks; choose a"
                " checkpoint of the same architecture and widths"
            )
        for name in taken:
            own[name].copy_(found[name])
        left = [f"{name} {list(own[name].shape)}" for name in own if name not in taken]
        log.info(
            "warm start with %d of %d tensors of %s; as initialised: %s",
            len(taken),
            len(own),
            self.checkpoint,
            ", ".join(left) or "none",
        )

    def freeze(self, system: SteppedModule) -> None:
        """Takes the gradients from the first layers of D.

        Raises:
            UserError: there is no D, or it has no more layers than that.
        """
        if system.game is None:
            raise UserError(
                f"callbacks.warm_start.freeze_layers={self.freeze_layers} freezes a discriminator, and this model has"
                " none; set it to 0"
            )
        layers = layers_from_the_image(system.game.discriminator, system.spec, conditional=system.conditional)
        if self.freeze_layers >= len(layers):
            raise UserError(
                f"callbacks.warm_start.freeze_layers={self.freeze_layers} would leave nothing to train of a"
                f" discriminator of {len(layers)} layers; give at most {len(layers) - 1}"
            )
        frozen = [parameter for layer in layers[: self.freeze_layers] for parameter in layer]
        for parameter in frozen:
            parameter.requires_grad_(False)
        count = sum(parameter.numel() for parameter in frozen)
        log.info("frozen are the first %d of %d layers of D, %d parameters", self.freeze_layers, len(layers), count)


def _network_tensors(system: SteppedModule) -> dict[str, Tensor]:
    """Parameters and buffers of the networks; the counters of augmentations and terms belong to a run."""
    networks = {name for name, child in system.named_children() if any(True for _ in child.parameters())}
    return {name: tensor for name, tensor in system.state_dict().items() if name.partition(".")[0] in networks}


def _stored(checkpoint: Mapping[str, Any], system: SteppedModule, weights: Literal["ema", "raw"]) -> dict[str, Tensor]:
    """The checkpoint's tensors by name, those of the sampler as ``weights`` says."""
    found: dict[str, Tensor] = dict(checkpoint["state_dict"])
    if weights == "ema" and checkpoint.get("ema") is not None:
        found |= {f"{system.sampler_name}.{name}": tensor for name, tensor in checkpoint["ema"].items()}
    if weights == "ema" and system.encoder_name is not None and checkpoint.get("ema_encoder") is not None:
        found |= {f"{system.encoder_name}.{name}": tensor for name, tensor in checkpoint["ema_encoder"].items()}
    return found


def _fitting(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """The names under which both have the same shape; a weight and what parametrises it only together."""
    units: dict[str, list[str]] = defaultdict(list)
    for name in own:
        layer, parametrised, rest = name.partition(_PARAMETRISED)
        units[f"{layer}{parametrised}{rest.partition('.')[0]}" if parametrised else name].append(name)
    fits = {name for name in own if name in found and found[name].shape == own[name].shape}
    return [name for unit in units.values() if fits.issuperset(unit) for name in unit]


@torch.no_grad()
def layers_from_the_image(network: nn.Module, spec: DataSpec, *, conditional: bool) -> list[list[nn.Parameter]]:
    """The parameters of a D by layer, in the order in which an image passes the layers.

    A layer begins with a module that has a weight of at least two dimensions. Embeddings of labels are in none, for no
    image passes them.
    """
    layers: list[list[nn.Parameter]] = []
    seen: set[nn.Module] = set()

    def note(module: nn.Module, inputs: tuple[Any, ...], _: Any) -> None:
        of_image = bool(inputs) and isinstance(inputs[0], Tensor) and inputs[0].is_floating_point()
        if module in seen or not of_image:
            return
        seen.add(module)
        parameters = _own_parameters(module)
        if any(parameter.ndim > 1 for parameter in parameters) or not layers:
            layers.append([])
        layers[-1].extend(parameters)

    hooks = [module.register_forward_hook(note) for module in network.modules() if _own_parameters(module)]
    try:
        count = as_discriminator(network).packing  # samples that it judges together
        device = next(network.parameters()).device
        labels = (torch.zeros(count, dtype=torch.int64, device=device),) if conditional else ()
        with evaluating(network):  # it draws no random numbers and moves no statistics then
            network(torch.zeros(count, *spec.shape, device=device), *labels)
    finally:
        for hook in hooks:
            hook.remove()
    return layers


def _own_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Those of ``module`` itself, through parametrisations; none of what parametrises another module."""
    if isinstance(module, parametrize.ParametrizationList):
        return []
    own = list(module.parameters(recurse=False))
    return own + (list(module.parametrizations.parameters()) if parametrize.is_parametrized(module) else [])  # type: ignore[union-attr]
