"""What happens beside the training step: averages, pictures, scores, statistics, checkpoints, the progress bar."""

from adversaria.callbacks.checkpoint import Checkpoint
from adversaria.callbacks.ema import EMA, sampler_of
from adversaria.callbacks.evaluation import Evaluation
from adversaria.callbacks.profile import Profile
from adversaria.callbacks.progress import Progress
from adversaria.callbacks.samples import Samples
from adversaria.callbacks.statistics import Statistics

__all__ = ["EMA", "Checkpoint", "Evaluation", "Profile", "Progress", "Samples", "Statistics", "sampler_of"]
