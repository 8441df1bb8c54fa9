"""Settings for StyleGAN2 on any images, by the rules of its authors' ``auto`` configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adversaria.core.errors import UserError
from adversaria.data.images.survey import Survey
from adversaria.recipes.choices import Choice, Picks
from adversaria.recipes.machine import Machine

SIZES = (16, 32, 64, 128, 256, 512, 1024)
#: the largest on a CPU, where a larger one would take weeks
_SIZE_ON_CPU = 64
#: this share of the images is at least as large as the size that is chosen; the rest is enlarged
_LARGE_ENOUGH = 0.9
#: images/s that the networks on a CPU are made for, and multiply-adds per second that a core of a laptop gets done
_RATE_ON_CPU, _OPERATIONS_PER_CORE = 50, 3e10
_CHANNELS_ON_CPU = (16384, 8192, 4096, 2048, 1024, 512)
#: bytes of memory for each element of the largest feature maps: what D, G and their gradients keep, in float32
_BYTES_PER_ELEMENT, _BYTES_AT_REST, _USED_SHARE = 60, 1.5 * 2**30, 0.8
#: with fewer images than this, mirrored ones are further data
_FEW_IMAGES = 10_000


class StyleGAN2Auto:
    """Size, widths, batch, R1, learning rate and average from the images and the machine.

    The rules are those of the ``auto`` configuration of Karras et al. 2020 ("Training Generative Adversarial Networks
    with Limited Data", and its published code): with size ``s`` and batch ``b`` over all devices, ``b = 4096 / s`` per
    device between 1 and 32 and at most 64 in all, gamma ``0.0002 s^2 / b``, a half-life of the average of ``b * 10/32``
    thousand images, half the channels below 512 pixels, two layers of mapping, 25 million images.

    Ours are: the size; a batch in parts where the device's memory is too small for it; mirrored images where there are
    few; and narrow networks of at most 64 pixels on a CPU, which then sees some 50 images a second.

    Args:
        fields: by name, the config's keys that a choice is written to.
        keep: keys that keep the value that the config has, as if they were on the command line.
        choices: by key, choices of an earlier run, to be taken as they are; None: choose.

    Raises:
        UserError: ``fields`` holds a name that nothing is chosen for.
    """

    needs: Sequence[str] = ("size", "batch", "channel_base")
    _names = (
        "size",
        "batch",
        "accumulate",
        "minibatch_std_group",
        "channel_base",
        "channel_max",
        "mapping_layers",
        "learning_rate",
        "gamma",
        "half_life",
        "mirror",
        "updates",
    )

    def __init__(
        self,
        *,
        fields: Mapping[str, Sequence[str]],
        keep: Sequence[str] = (),
        choices: Mapping[str, Any] | None = None,
    ) -> None:
        for name in {*fields, *self.needs} - {*fields}.intersection(self._names):
            raise UserError(f"auto.fields.{name} must be there and one of {', '.join(self._names)}; correct it")
        self.fields, self.keep, self.choices = fields, keep, choices

    def choose(self, survey: Survey, machine: Machine, given: Mapping[str, Any]) -> dict[str, Choice]:
        """See `Auto`."""
        picks = Picks(given)
        size = picks.pick("size", *_size(survey, machine))
        base, why = _channels(size, machine)
        base = picks.pick("channel_base", base, why)
        widest = 512 if machine.gpu else 256
        widest = picks.pick("channel_max", widest, "the widest layers" + ("" if machine.gpu else ", half on a CPU"))
        batch = picks.pick("batch", *_batch(size, survey, machine))
        microbatches, why = _microbatches(size, base, widest, batch, machine)
        microbatches = picks.pick("accumulate", microbatches, why)
        total = batch * machine.devices
        group = min(batch // microbatches, 4)
        picks.pick("minibatch_std_group", group, "4, or as many as go through the networks at once")
        picks.pick("mapping_layers", 2, "8 of them gain nothing on data of one kind (the reference's auto)")
        rate = 0.002 if size >= 1024 else 0.0025
        picks.pick(
            "learning_rate",
            rate,
            f"the reference's for {'1024 pixels and more' if size >= 1024 else 'less than 1024 pixels'}",
        )
        picks.pick("gamma", float(f"{0.0002 * size**2 / total:.4g}"), f"0.0002 * {size}^2 / {total} images a step")
        picks.pick("half_life", total * 10_000 // 32, f"in images: {total} a step * 10,000 / 32")
        picks.pick("mirror", *_mirror(survey))
        images = 25_000_000 if machine.gpu else 1_000_000
        why = f"{images // 10**6} million images of {total} a step{'' if machine.gpu else ', some hours on a CPU'}"
        picks.pick("updates", images // total, f"{why}; stop it (Ctrl-C) when the samples are good enough")
        return picks


def _size(survey: Survey, machine: Machine) -> tuple[int, str]:
    side = survey.side_of(_LARGE_ENOUGH)
    size = max((s for s in SIZES if s <= side), default=SIZES[0])
    why = f"{_LARGE_ENOUGH:.0%} of the {survey.count:,} images have at least {side} pixels on both sides"
    if machine.gpu is None and size > _SIZE_ON_CPU:
        return _SIZE_ON_CPU, f"the most for a CPU ({why}, enough for {size} on a GPU)"
    while (
        machine.gpu and size > SIZES[0] and _memory(size, _reference_base(size), 512, 1) > _USED_SHARE * machine.memory
    ):
        size //= 2
        why = f"what {machine} can hold"
    return size, why


def _reference_base(size: int) -> int:
    return 32768 if size >= 512 else 16384


def _channels(size: int, machine: Machine) -> tuple[int, str]:
    """``channel_base``: channels at resolution r are ``channel_base / r``, up to the widest."""
    if machine.gpu:
        return _reference_base(
            size
        ), f"the reference's for {'512 pixels and more' if size >= 512 else 'less than 512 pixels'}"
    affordable = machine.cores * _OPERATIONS_PER_CORE / _RATE_ON_CPU
    base = next((b for b in _CHANNELS_ON_CPU if _operations(size, b, 256) <= affordable), _CHANNELS_ON_CPU[-1])
    why = f"no GPU here: narrow networks, for some {_RATE_ON_CPU} images a second on {machine} (16384 on a GPU)"
    return base, why


def _batch(size: int, survey: Survey, machine: Machine) -> tuple[int, str]:
    """Of one device."""
    total = max(min(machine.devices * min(4096 // size, 32), 64), machine.devices)
    batch = total // machine.devices
    if batch > survey.count:
        return 2 ** (survey.count.bit_length() - 1), f"there are no more than {survey.count:,} images"
    on = "" if machine.devices == 1 else f" on each of {machine.devices} devices"
    return batch, f"4096 / {size} pixels{on}, at most 32, and 64 in all"


def _microbatches(size: int, base: int, widest: int, batch: int, machine: Machine) -> tuple[int, str]:
    """Into how many microbatches a batch is cut so that memory holds one: halves of halves."""
    microbatches = 1
    while (
        microbatches < batch
        and batch % (2 * microbatches) == 0
        and (_memory(size, base, widest, batch // microbatches) > _USED_SHARE * machine.memory)
    ):
        microbatches *= 2
    needed = _memory(size, base, widest, batch // microbatches) / 2**30
    return (
        microbatches,
        f"{batch // microbatches} images at once take some {needed:.1f} GiB of {machine.memory / 2**30:.0f}",
    )


def _mirror(survey: Survey) -> tuple[bool, str]:
    advice = "give data.mirror=false where left and right differ, as in text"
    if survey.count < _FEW_IMAGES:
        return True, f"{survey.count:,} images are few, and so become {2 * survey.count:,}; {advice}"
    return False, f"{survey.count:,} images are enough without; data.mirror=true if left and right are alike"


def _resolutions(size: int) -> list[int]:
    """4, 8, ..., ``size``."""
    return [2**k for k in range(2, size.bit_length())]


def _operations(size: int, base: int, widest: int) -> float:
    """Multiply-adds of training for one image: two 3x3 convolutions a resolution in each network.

    G and D are passed 4 and 9 times (forward once, backward twice each), and regularisation adds a fifth.
    """
    channels = {r: min(base // r, widest) for r in (2, *_resolutions(size))}
    one_pass = sum(9 * r**2 * channels[r] * (channels[r // 2] + channels[r]) for r in _resolutions(size))
    return 1.2 * 13 * one_pass


def _memory(size: int, base: int, widest: int, batch: int) -> float:
    """Bytes for ``batch`` images at once; within a factor of 1.5 of the table in the reference's documentation."""
    elements = sum(r**2 * min(base // r, widest) for r in _resolutions(size))
    return _BYTES_AT_REST + batch * elements * _BYTES_PER_ELEMENT
