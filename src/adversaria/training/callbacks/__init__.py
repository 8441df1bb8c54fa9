"""What happens beside the training step: averages, pictures, scores, statistics, checkpoints, the progress bar."""

from collections.abc import Iterable

from lightning.pytorch.callbacks import Callback

from adversaria.training.callbacks.checkpoint import Checkpoint
from adversaria.training.callbacks.ema import EMA, sampler_of
from adversaria.training.callbacks.evaluation import Evaluation
from adversaria.training.callbacks.forecast import Forecast
from adversaria.training.callbacks.guard import Guard
from adversaria.training.callbacks.health import Health
from adversaria.training.callbacks.profile import Profile
from adversaria.training.callbacks.progress import Progress
from adversaria.training.callbacks.samples import Samples
from adversaria.training.callbacks.statistics import Statistics
from adversaria.training.callbacks.warm_start import WarmStart

__all__ = [
    "EMA",
    "Checkpoint",
    "Evaluation",
    "Forecast",
    "Guard",
    "Health",
    "Profile",
    "Progress",
    "Samples",
    "Statistics",
    "WarmStart",
    "in_order",
    "sampler_of",
]

#: Whoever reads of another comes after it: pictures show the average of this step, the detectors look at the values
#: that are logged with their reading, the bar shows both. Each does without those that are left out.
_ORDER = (WarmStart, EMA, Statistics, Health, Samples, Evaluation, Progress)


def in_order(callbacks: Iterable[Callback]) -> list[Callback]:
    """``callbacks`` so that each finds what it reads, whatever their order in the config; others stay behind these."""
    places = {kind: place for place, kind in enumerate(_ORDER)}
    return sorted(
        callbacks, key=lambda callback: next((places[k] for k in type(callback).__mro__ if k in places), len(places))
    )
