"""What happens beside the training step: averages, pictures, scores, statistics, checkpoints, the progress bar."""

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
    "sampler_of",
]
