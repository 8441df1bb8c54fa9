"""`compile`: the training step's passes through the networks as generated kernels.

Source: Ansel et al. 2024, "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and Graph
Compilation".
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.systems.base import SteppedModule

log = logging.getLogger("adversaria")

#: of `torch.compile`; what its documentation calls a compiler
BACKEND = "inductor"
#: forms of one network: with and without gradients, of its weights or its input, for one batch or two together, with
#: BatchNorm's statistics moving or frozen
FORMS = 32


class Compilation(Callback):
    """Training by compiled passes, from the beginning of a fit to its end.

    Args:
        choice: see `compiled_forwards`.
    """

    def __init__(self, choice: bool | str) -> None:
        self.choice, self._stack, self._compiled = choice, ExitStack(), False

    def on_fit_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Puts them in place."""
        self._compiled = self._stack.enter_context(compiled_forwards(pl_module, self.choice, pl_module.device))

    def on_train_batch_start(self, *_: Any) -> None:
        """What CUDA graphs of an earlier update left in their memory may go.

        Within one update all of it stays: D's steps use their fakes while G makes others.
        """
        if self._compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def on_fit_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Takes them away."""
        self._stack.close()

    def on_exception(self, trainer: Trainer, pl_module: SteppedModule, exception: BaseException) -> None:
        """Takes them away: there is no end of a fit after an exception."""
        self._stack.close()


@contextmanager
def compiled_forwards(system: SteppedModule, choice: bool | str, device: torch.device) -> Iterator[bool]:
    """Compiles the networks as ``system``'s training step calls them inside the block; gives whether it does.

    Each is compiled at its first call. All else calls the networks themselves: pictures and scores, whose batches have
    other sizes, the average, and the terms of the objective, because compiled code cannot be differentiated twice. The
    weights are the same tensors.

    Random numbers inside of a network, such as StyleGAN's noise, are drawn as without compilation. What cannot be
    compiled runs as it is, with one warning.

    Args:
        system: what it calls is in its ``forwards``.
        choice: true, false, ``"auto"`` (true on a GPU that Triton generates code for) or a mode of `torch.compile`.
        device: of the training.
    """
    if choice is False or (choice == "auto" and not _pays(device)):
        yield False
        return
    torch.compiler.reset()  # or what an earlier run of this process compiled would count against the limit
    kernels = _compiler(choice if isinstance(choice, str) and choice != "auto" else None)
    before = dict(system.forwards)
    for name, forward in before.items():
        # Batches have few sizes, and each is worth kernels of its own.
        system.replace_forward(name, torch.compile(forward, backend=kernels, dynamic=False))
    log.info("the networks are compiled at their first steps, which take longer; compile=false starts at once")
    try:
        with torch._dynamo.config.patch(suppress_errors=True, recompile_limit=FORMS):
            yield True
    finally:
        for name, forward in before.items():
            system.replace_forward(name, forward)


def _compiler(mode: str | None) -> Callable[..., Any]:
    """`BACKEND` in ``mode``, which gives a graph back as it is if it fails."""
    patches = {**(torch._inductor.list_mode_options(mode) if mode else {}), "fallback_random": True}
    options = {"config_patches": patches} if BACKEND == "inductor" else {}
    failed: list[Exception] = []

    def kernels(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        # Backward passes too, which would be compiled at their first use: a failure could not be caught there.
        with torch._functorch.config.patch(force_non_lazy_backward_lowering=True):
            try:
                compiled: Callable[..., Any] = torch._dynamo.lookup_backend(BACKEND)(graph, inputs, **options)
                return compiled
            except Exception as error:  # whatever a bug of a compiler, or none being there, raises
                if not failed:
                    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                    log.warning("torch.compile fails (%s); such parts run uncompiled, as with compile=false", reason)
                failed.append(error)
                return graph.forward

    return kernels


def _pays(device: torch.device) -> bool:
    """Whether compilation is the fast path: on a CPU it gained nothing (see ``docs/performance.md``)."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (7, 0)  # the oldest that Triton supports
