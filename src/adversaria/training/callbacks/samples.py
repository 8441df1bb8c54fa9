"""Grids of samples from fixed latents, and one of reals before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback

from adversaria.core.errors import UserError
from adversaria.core.files import write_text
from adversaria.core.modality import Shown
from adversaria.core.modes import evaluating
from adversaria.core.ranges import Count, Seed
from adversaria.modalities.pictures import save_picture, show
from adversaria.sampling.draw import Draw, traverse
from adversaria.sampling.edits import show_edits
from adversaria.systems.base import SteppedModule
from adversaria.training.callbacks.ema import sampler_of
from adversaria.training.run_logger import RunLogger, run_loggers


class Samples(Callback):
    """Writes ``samples/NNNNNN.png`` (NNNNNN generator updates) and shows it in TensorBoard.

    The latents are the same all along, so that one sees a sample change. A generator whose latents have a meaning adds
    pictures of it (see `adversaria.sampling.draw.traverse`). ``samples/reals.png`` shows training data,
    to compare with and to notice wrong data before the night is over.

    Args:
        every_n_steps: generator updates from one picture to the next; a last one comes at the end.
        count: samples in a picture. A conditional model shows the classes in turn, one row for each round.
        seed: of the latents.

    Raises:
        UserError: a value out of range.
    """

    def __init__(self, *, every_n_steps: Count = 500, count: Count = 64, seed: Seed = 0) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("count", count)):
            if value < 1:
                raise UserError(f"callbacks.samples.{name}={value} must be at least 1")
        self.every_n_steps, self.count, self.seed = every_n_steps, count, seed
        self._drawn_at = -1
        self._writer: ThreadPoolExecutor | None = None
        self._written: list[Future[None]] = []

    def on_train_start(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Writes the grid of reals."""
        if not trainer.is_global_zero:
            return
        self._writer = ThreadPoolExecutor(1, "samples")
        split = pl_module.datamodule.split("train")
        chosen = torch.randperm(len(split.samples), generator=torch.Generator().manual_seed(self.seed))
        self._reals = pl_module.spec.modality.decode(split.batch(chosen[: self.count].numpy()).samples)
        if trainer.global_step == 0:
            self._publish(trainer, "reals", show(self._reals, pl_module.spec))

    def on_train_batch_end(self, trainer: Trainer, pl_module: SteppedModule, *_: Any) -> None:
        """Draws when a picture is due."""
        if trainer.global_step % self.every_n_steps == 0:
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Draws the last picture, and waits until all are written."""
        self.draw(trainer, pl_module)
        self._wait_for_files()

    def on_exception(self, trainer: Trainer, pl_module: SteppedModule, exception: BaseException) -> None:
        """Waits until all pictures are written; what ended the run says more than one that was not."""
        wait(self._written)

    def draw(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """Draws the samples of the present weights, once a step."""
        if not trainer.is_global_zero or self._drawn_at == trainer.global_step:
            return
        self._drawn_at = trainer.global_step
        self._wait_for_files()
        with pl_module.clock.paused():
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        if pl_module.translates:
            self._draw_edits(trainer, pl_module)
        else:
            self._draw_samples(trainer, pl_module)
        reals = self._reals.to(pl_module.device)
        with evaluating(pl_module), torch.no_grad():
            previews = pl_module.previews(reals)
        for name, pictures in previews.items():
            self._publish(trainer, name, show(pictures, pl_module.spec), f"{name}_{trainer.global_step:06d}")

    def _draw_edits(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        """What is given, what is made of it and the answers, of the first held-out samples."""
        data, count = pl_module.datamodule, max(1, self.count // 3)
        inputs = pl_module.inputs(data, seed=self.seed)
        with evaluating(sampler_of(trainer)) as network:
            made = Draw(network, pl_module.device, inputs)(0, count).samples
        answers = data.spec.modality.decode(data.batch(data.held_out, np.arange(count)).samples)
        given = inputs(0, count)[1]
        assert given is not None
        shown = show_edits(pl_module.spec, given, made, answers if data.loaded.aligned else None)
        self._publish(trainer, "samples", shown, f"{trainer.global_step:06d}")

    def _draw_samples(self, trainer: Trainer, pl_module: SteppedModule) -> None:
        classes = list(range(pl_module.spec.num_classes or 0)) if pl_module.conditional else []
        labels = classes or None
        with evaluating(sampler_of(trainer)) as network:
            draw = Draw(
                network, pl_module.device, pl_module.inputs(pl_module.datamodule, seed=self.seed, labels=labels)
            )
            columns = len(classes) if classes and len(classes) <= self.count else None
            samples = draw(0, self.count - self.count % (columns or 1)).samples  # whole rows
            meanings = traverse(
                network, pl_module.prior, pl_module.spec, pl_module.device, seed=self.seed, labels=labels
            )
        self._publish(trainer, "samples", show(samples, pl_module.spec, columns), f"{trainer.global_step:06d}")
        for name, rows in meanings.items():
            shown = show(rows.flatten(0, 1), pl_module.spec, rows.shape[1])
            self._publish(trainer, name, shown, f"{name}_{trainer.global_step:06d}")

    def _publish(self, trainer: Trainer, tag: str, shown: Shown, name: str | None = None) -> None:
        """Leaves the compression, 0.1 s for file and TensorBoard, to a thread: a GPU makes 30 updates meanwhile."""
        assert self._writer is not None
        path = Path(trainer.default_root_dir) / "samples" / f"{name or tag}.png"
        self._written.append(self._writer.submit(_write, path, tag, shown, trainer.global_step, run_loggers(trainer)))

    def _wait_for_files(self) -> None:
        """Waits for the pictures so far, and raises what kept one from being written."""
        written, self._written = self._written, []
        for writing in written:
            writing.result()


def _write(path: Path, tag: str, shown: Shown, step: int, loggers: Sequence[RunLogger]) -> None:
    save_picture(path, shown.picture)
    if shown.text is not None:
        write_text(path.with_suffix(".txt"), f"{shown.text}\n")
    for logger in loggers:
        logger.log_picture(tag, shown.picture, step)
