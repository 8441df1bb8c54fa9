"""How processes that train together keep their networks equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.optim import Optimizer


class StepwiseDDP(DDPStrategy):
    """Synchronous data parallelism: the mean of all ranks' gradients, taken once before each optimizer step.

    PyTorch's `DistributedDataParallel` exchanges the gradients of the whole module at each `backward`. A GAN has two
    networks that step in turns and terms that step alone, so this would send the other network's zeros as well, find
    them by walking the graph each time, and send everything again for each part of an accumulated batch. Here the
    gradients of the one optimizer that steps go out together in one message, and nothing else does. What is lost is
    that messages overlap with `backward`; it pays for networks larger than those of GANs on slower links.

    Each rank must have gradients of the same parameters. Buffers, such as BatchNorm's running statistics, are those
    of rank 0 at the beginning of each update, as `DistributedDataParallel` has them.

    Sources: Chen et al. 2016, "Revisiting Distributed Synchronous SGD"; Li et al. 2020, "PyTorch Distributed:
    Experiences on Accelerating Data Parallel Training", sections 3 and 4.
    """

    def configure_ddp(self) -> None:
        """Nothing is wrapped; every rank starts with the parameters and buffers of rank 0."""
        module = self.lightning_module
        assert module is not None
        broadcast([*module.parameters(), *module.buffers()])
        # Counters and masks change alike on all ranks.
        self._buffers = [buffer for buffer in module.buffers() if buffer.is_floating_point()]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The buffers of rank 0 for everybody."""
        broadcast(self._buffers)

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | nn.Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """A step with the mean of the gradients; ``closure`` must compute none, as in manual optimization."""
        average_gradients(optimizer)
        return super().optimizer_step(optimizer, closure, model, **kwargs)


StrategyRegistry.register(
    "stepwise_ddp", StepwiseDDP, description="Gradients are averaged once before each optimizer step"
)


def average_gradients(optimizer: Optimizer) -> None:
    """Replaces the gradients that ``optimizer`` is about to use by their mean over all processes."""
    world = dist.get_world_size()
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    # First divided, as DistributedDataParallel does: half-precision gradients would overflow in the sum.
    _exchange(gradients, lambda flat: dist.all_reduce(flat.div_(world)))


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Gives every process the values that ``tensors`` have in the first."""
    _exchange(tensors, lambda flat: dist.broadcast(flat, 0))


@torch.no_grad()
def _exchange(tensors: Iterable[Tensor], collective: Callable[[Tensor], object]) -> None:
    """Runs ``collective``, which works in place, on one vector for each type among ``tensors``."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(_in_memory_order(tensor.detach()))
    for same in groups.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        collective(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in same])
        torch._foreach_copy_(same, [part.view(tensor.shape) for part, tensor in zip(parts, same, strict=True)])


def _in_memory_order(tensor: Tensor) -> Tensor:
    """A view of ``tensor`` that is contiguous where its channels come last: copies of it need no transposition."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if last else tensor


def let_signals_be(trainer: Trainer) -> None:
    """Spares a broadcast that Lightning's loop waits for before each batch, to learn whether rank 0 got a SIGTERM.

    `adversaria.training.callbacks.Checkpoint` takes that signal, and the ranks agree on it at the end of a step.
    """
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
