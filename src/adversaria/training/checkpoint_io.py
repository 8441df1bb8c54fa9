"""How Lightning writes and reads checkpoints here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from adversaria.core.files import replacing, subfolder
from adversaria.runs.checkpoints import read_checkpoint


class AtomicIO(TorchCheckpointIO):
    """Lightning's way to checkpoints: whole or not at all, kept through a power cut, and read by `read_checkpoint`.

    Lightning writes through a temporary file in ``$TMPDIR`` without fsync, which a kill leaves cut off where that is
    another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replaces ``path`` once everything is on the disk."""
        path = Path(path)
        subfolder(path.parent.parent, path.parent.name)
        with replacing(path, durable=True) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # of closing the archive, after the one that matters
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from error
                raise

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """On the CPU: Lightning copies what is in it to where it belongs."""
        return read_checkpoint(path)
