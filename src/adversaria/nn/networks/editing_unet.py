"""A small U-Net for editing: it adds to what it is given, and trains in minutes."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.ranges import Depth, Width
from adversaria.core.types import DataSpec
from adversaria.nn.network import Generator
from adversaria.nn.networks.patchgan import condition_channels

_KEY = "model.generator"


class EditingUNet(Generator):
    """Residual blocks at each scale, shortcuts between equal scales (Ronneberger et al. 2015), SiLU, no norm.

    Its last layer starts at zero and its output is added to the picture that is given, so that it begins as doing
    nothing; without a norm a picture is edited alike whatever lies beside it in the batch. Takes no noise.

    Args:
        spec: of the data: images and the pictures that are edited, of equal height and width.
        width: channels at the full size; ``k + 1`` times as many after ``k`` halvings.
        depth: how many times the side is halved.

    Raises:
        UserError: nothing is given to edit, something of another size, or sides that ``2 ** depth`` does not divide.
    """

    latent_dim = 0
    conditional = translates = True

    def __init__(self, *, spec: DataSpec, width: Width = 32, depth: Depth = 3) -> None:
        super().__init__()
        given = condition_channels(spec, _KEY)
        self.channels = spec.shape[0]
        if any(side % 2**depth for side in spec.shape[1:]):
            raise UserError(
                f"{_KEY}.depth={depth} takes images whose sides {2**depth} divides, and these have "
                f"{spec.shape[1]}x{spec.shape[2]}; give a smaller depth or another data.size"
            )
        widths = [width * (k + 1) for k in range(depth + 1)]
        self.stem = nn.Conv2d(given, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.encode = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths[:-1])
        self.head = nn.Conv2d(width, self.channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        """``z [N, 0]`` and ``condition [N, C', H, W]`` -> images ``[N, C, H, W]``."""
        h, shortcuts = self.stem(condition), []
        for k, block in enumerate(self.encode):
            h = h + block(F.silu(h))  # [N, width * (k + 1), H / 2^k, W / 2^k]
            if k < len(self.down):
                shortcuts.append(h)
                h = self.down[k](F.silu(h))
        for k in reversed(range(len(self.up))):
            h = F.interpolate(self.up[k](h), scale_factor=2) + shortcuts[k]
            h = h + self.decode[k](F.silu(h))
        edited: Tensor = condition[:, : self.channels] + self.head(F.silu(h))
        return edited
