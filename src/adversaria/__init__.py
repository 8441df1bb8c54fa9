"""Train, measure and compare generative adversarial networks.

>>> import adversaria
>>> result = adversaria.train("model=dcgan", "data=cifar10", run_dir="outputs/mine")
>>> sampler = adversaria.load("outputs/dcgan-digits/2026-01-31_12-00-00")
>>> images = sampler.sample(64, seed=1)  # [64, C, H, W] in [-1, 1]
>>> scores, fingerprint = adversaria.evaluate(sampler, "path/to/images")
"""

from __future__ import annotations

import os
import pkgutil
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load", "train"]

if TYPE_CHECKING:
    from adversaria.cli.inprocess import train
    from adversaria.evaluation.scoring import evaluate
    from adversaria.sampling.sampler import load

# Unless told so, MKL may add the same numbers in another order next time, and a run that was continued would not end
# bit for bit as one that was not. It reads this at its first product and is no slower for it.
os.environ.setdefault("MKL_CBWR", "AUTO")

_HOMES = {
    "load": "adversaria.sampling.sampler",
    "evaluate": "adversaria.evaluation.scoring",
    "train": "adversaria.cli.inprocess",
}


def __getattr__(name: str) -> Any:
    # torch is imported on first use, so that `--help` and a mistyped override answer at once.
    if name in _HOMES:
        return pkgutil.resolve_name(f"{_HOMES[name]}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
