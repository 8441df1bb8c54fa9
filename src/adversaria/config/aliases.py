"""Old names of what a config may name: files written by an earlier version go on meaning what they meant.

A module that moves gets a line here, and nothing else has to know. What a name means is still decided by
`adversaria.config.admission`, which sees the new name alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: modules, packages and single objects of version 0.1, below ``adversaria.``, and where they are now
MOVED: Mapping[str, str] = {
    "augment": "objectives.augment",
    "auto": "recipes",
    "callbacks": "training.callbacks",
    "data.dirac": "data.synthetic.dirac",
    "data.folder": "data.images.folder",
    "data.given": "data.images.given",
    "data.named": "data.images.named",
    "data.points": "data.synthetic.points",
    "data.stacked": "data.images.stacked",
    "diagnosis": "health",
    "gan": "systems.gan",
    "layers": "nn.layers",
    "layers.Normal": "nn.latents.Normal",
    "layers.latent": "nn.latents",
    "layers.packing": "nn.wrappers.packing",
    "loggers": "training.loggers",
    "losses": "objectives.losses",
    "metrics": "evaluation.metrics",
    "metrics.CLIPExtractor": "features.CLIPExtractor",
    "metrics.ClassifierExtractor": "features.ClassifierExtractor",
    "metrics.DINOv2Extractor": "features.DINOv2Extractor",
    "metrics.InceptionExtractor": "features.InceptionExtractor",
    "metrics.Memorisation": "evaluation.memorisation.Memorisation",
    "metrics.Usefulness": "evaluation.usefulness.Usefulness",
    "metrics.VGG16Extractor": "features.VGG16Extractor",
    "metrics.classifier": "features.classifier",
    "metrics.classifier_extractor": "features.classifier_extractor",
    "metrics.disturbances": "evaluation.disturbances",
    "metrics.fidelity": "features.fidelity",
    "metrics.memorisation": "evaluation.memorisation",
    "metrics.usefulness": "evaluation.usefulness",
    "models": "nn.networks",
    "models.conditional": "nn.wrappers.conditional",
    "models.infogan": "nn.wrappers.infogan",
    "models.mgan": "nn.wrappers.mgan",
    "optim": "systems.optim",
    "penalties": "objectives.terms",
    "penalties.SpectralNorm": "objectives.reparametrisations.SpectralNorm",
    "penalties.WeightClipping": "objectives.constraints.WeightClipping",
    "penalties.clipping": "objectives.constraints.clipping",
    "penalties.spectral_norm": "objectives.reparametrisations.spectral_norm",
    "schedules": "core.schedules",
    "vae": "systems.vae",
}


def current_name(name: str) -> str:
    """The name by which what was called ``name`` can be named now; any other name stays as it is.

    >>> current_name("adversaria.gan.GAN")
    'adversaria.systems.gan.GAN'
    """
    package, _, inner = name.partition(".")
    if package != "adversaria":
        return name
    parts = inner.split(".")
    for length in range(len(parts), 0, -1):  # the longest beginning says most
        if (moved := MOVED.get(".".join(parts[:length]))) is not None:
            return ".".join((package, moved, *parts[length:]))
    return name


def with_current_names(config: Any) -> Any:
    """A copy of plain containers in which every ``_target_`` is a name of today."""
    if isinstance(config, dict):
        return {
            key: current_name(value) if key == "_target_" and isinstance(value, str) else with_current_names(value)
            for key, value in config.items()
        }
    return [with_current_names(item) for item in config] if isinstance(config, list) else config
