"""What happens beside the training step: averages, pictures, scores, statistics, checkpoints, the progress bar."""

from collections.abc import Iterable

from lightning.pytorch.callbacks import Callback

from adversaria.callbacks.checkpoint import Checkpoint
from adversaria.callbacks.ema import EMA, sampler_of
from adversaria.callbacks.evaluation import Evaluation
from adversaria.callbacks.forecast import Forecast
from adversaria.callbacks.guard import Guard
from adversaria.callbacks.health import Health
from adversaria.callbacks.profile import Profile
from adversaria.callbacks.progress import Progress
from adversaria.callbacks.samples import Samples
from adversaria.callbacks.statistics import Statistics
from adversaria.callbacks.warm_start import WarmStart

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
