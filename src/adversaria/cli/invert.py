"""``python invert.py checkpoint=... images=...``: the latents of pictures, and what can be done with them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaria.cli import app
from adversaria.config.fields import check_fields
from adversaria.config.plain import Plain
from adversaria.core.errors import UserError
from adversaria.core.text import as_file_name, shown

if TYPE_CHECKING:
    from torch import Tensor, nn

    from adversaria.core.types import DataSpec
    from adversaria.sampling.inversion import Inverted
    from adversaria.sampling.latents import Latents
    from adversaria.sampling.sampler import Sampler

log = logging.getLogger("adversaria")

#: pictures of the overview, and of each strip
_MOST_SHOWN, _MOST_ROWS = 64, 8
#: names of files that an earlier call has written
_OURS = re.compile(r"(latents|directions)\.npz|inversion\.json|(found|paths|direction_.+)\.png")

#: what is written, by the name of its file
Files = dict[str, Callable[[Path], None]]


@dataclass(frozen=True)
class Pictures:
    """What is to be found again.

    Attributes:
        name: of the data, for paths.
        stored: uint8 ``[N, C, H, W]``.
        samples: the same as the networks see them.
        classes: the number of the folder of each ``[N]``; None without class folders.
        names: of the folders.
    """

    name: str
    stored: Tensor
    samples: Tensor
    classes: Tensor | None
    names: tuple[str, ...]


def main() -> int:
    """The command; returns its exit code."""
    return app.run("invert", job)


def job(config: Plain) -> int:
    """Loads G and D, looks for the latents, writes them with pictures."""
    check_fields("invert", config)
    _check(config)
    from adversaria.modalities.files import filled_folder, not_named
    from adversaria.runs.folder import find_checkpoint, results_folder
    from adversaria.sampling.inversion import Settings, decibels, invert

    checkpoint = find_checkpoint(config["checkpoint"])
    log.info("%-10s %s", "run", shown(results_folder(checkpoint)))
    sampler, discriminator = _networks(checkpoint, config)
    pictures = _pictures(config, sampler.spec)
    _refuse_too_few(config, pictures)
    labels = _labels(config, sampler, pictures)
    out = Path(config["out"] or results_folder(checkpoint) / "inverted" / pictures.name).expanduser()
    settings = Settings(**{field.name: config[field.name] for field in fields(Settings)})
    with filled_folder(out, not_named(_OURS)) as folder:
        found = invert(sampler, pictures.samples, labels, discriminator=discriminator, settings=settings)
        files = _files(config, sampler, pictures, found)
        for name, write in files.items():
            write(folder / name)
    ratio = decibels(found.errors)
    log.info("%d pictures after %d generator updates", len(found.errors), sampler.generator_updates)
    log.info(
        "%-10s %.3g on average in [-1, 1], %.1f dB in the median; |%s| is %.2f of the prior's",
        *("error", found.errors.mean(), ratio.median(), found.latents.space, found.lengths.mean()),
    )
    for name in sorted(files):
        log.info("%-10s %s", "written", shown(out / name))
    return 0


def _check(config: Plain) -> None:
    """Raises UserError for values that have no meaning together, before torch is imported."""
    if config["keep"] > config["starts"]:
        raise UserError(f"keep={config['keep']} is more than starts={config['starts']}; give as many or fewer")


def _networks(checkpoint: Path, config: Plain) -> tuple[Sampler, nn.Module | None]:
    """The sampler, and D where there is one and it is asked for."""
    from adversaria.config.blame import told
    from adversaria.runs.checkpoints import read_checkpoint
    from adversaria.sampling.restore import restore_discriminator
    from adversaria.sampling.sampler import Sampler, chosen_device

    with told({}):
        content = read_checkpoint(checkpoint)
        sampler = Sampler(content, raw=config["raw"], trust=config["trust"], device=chosen_device())
        if config["features"] == 0:
            return sampler, None
        discriminator = restore_discriminator(content, sampler.spec, config["trust"])
    if discriminator is None:
        log.info("%-10s this model has no discriminator: pixels alone are compared", "features")
    return sampler, discriminator


def _pictures(config: Plain, spec: DataSpec) -> Pictures:
    """The images at the model's size.

    Raises:
        UserError: the model makes no square images, or there are none to read.
    """
    import torch

    from adversaria.data.images.given import images_at

    shape = spec.image_shape
    if shape is None or shape != spec.shape or shape[1] != shape[2] or shape[0] not in (1, 3):
        raise UserError(
            f"invert.py is for models of square images, grey or in colour; this one makes {spec.modality.noun} of "
            f"{'x'.join(map(str, spec.shape))}"
        )
    data = images_at(str(config["images"]), key="images", size=shape[1], channels=shape[0])
    for line in data.description().splitlines():
        log.info("%-10s %s", "images", line)
    batch = data.split("train").batch(slice(0, config["count"]))
    stored = batch.samples.contiguous()
    classes = None if batch.labels is None else batch.labels.to(torch.int64)
    names = tuple(data.class_names or ())
    return Pictures(data.name.removeprefix("images-"), stored, spec.modality.decode(stored), classes, names)


def _refuse_too_few(config: Plain, pictures: Pictures) -> None:
    """Raises UserError for paths and directions that the pictures cannot give, before latents are looked for."""
    if config["interpolate"] is not None and len(pictures.stored) < 2:
        raise UserError(
            f"interpolate={config['interpolate']} leads from a picture to another, and there is one alone; give more"
        )
    if "labels" in config["directions"] and (pictures.classes is None or len(pictures.classes.unique()) < 2):  # type: ignore[no-untyped-call]
        raise UserError(
            "directions=labels needs pictures of two classes at least: sort them into a folder for each class, such as "
            "images/smiling and images/other"
        )


def _labels(config: Plain, sampler: Sampler, pictures: Pictures) -> Tensor | None:
    """The class of each picture for a conditional model; None: there are none, or each class is to be tried."""
    import torch

    if config["labels"] is not None:
        given = sampler.labels(config["labels"])
        return torch.tensor(given)[torch.arange(len(pictures.stored)) % len(given or ())]
    if not sampler.conditional or pictures.classes is None:
        return None
    known = sampler.spec.class_names or tuple(map(str, range(sampler.spec.num_classes or 0)))
    if not set(pictures.names) <= set(known):
        log.info("%-10s the folders have other names than the model's classes: each class is tried", "labels")
        return None
    return torch.tensor([known.index(name) for name in pictures.names])[pictures.classes]


def _files(config: Plain, sampler: Sampler, pictures: Pictures, found: Inverted) -> Files:
    """All that is written."""
    from adversaria.core.files import write_json
    from adversaria.modalities.pictures import save_picture
    from adversaria.sampling.inversion import decibels

    made = sampler.sample(len(found.latents), given=found.latents, batch_size=config["batch_size"])
    stored = sampler.spec.modality.encode(made)
    picture = _overview(sampler.spec, pictures.stored, stored)
    record = {
        "space": found.latents.space,
        "errors": found.errors.tolist(),
        "psnr": decibels(found.errors).tolist(),
        "lengths": found.lengths.tolist(),
    }
    files: Files = {
        "latents.npz": found.latents.save,
        "inversion.json": lambda path: write_json(path, record),
        "found.png": lambda path: save_picture(path, picture),
    }
    if config["interpolate"] is not None:
        paths = _paths(sampler, pictures, found.latents, config["interpolate"])
        files["paths.png"] = lambda path: save_picture(path, paths)
    return files | _strips(config, sampler, pictures, found.latents)


def _overview(spec: DataSpec, given: Tensor, made: Tensor) -> Tensor:
    """Each picture beside what was found for it, uint8 ``[3, H, W]``."""
    import math

    import torch

    from adversaria.core.modality import Drawn

    pairs = torch.stack([given[:_MOST_SHOWN], made[:_MOST_SHOWN]], dim=1).flatten(0, 1)  # [2 n, C, H, W]
    times = max(1, round(math.sqrt(len(pairs) / 4)))
    return spec.modality.show(
        Drawn(len(pairs), [pairs], columns=2 * times, captions=["given", "found"] * times)
    ).picture


def _paths(sampler: Sampler, pictures: Pictures, latents: Latents, steps: int) -> Tensor:
    """From each of the first pictures to the next, with the pictures themselves at both ends; uint8 ``[3, H, W]``."""
    import torch

    from adversaria.core.modality import Drawn

    rows = min(len(latents) - 1, _MOST_ROWS)
    ends = torch.stack([torch.arange(rows), torch.arange(1, rows + 1)], dim=1)  # [rows, 2]
    made = sampler.interpolate(rows, steps, given=latents.at(ends.flatten()))
    between = sampler.spec.modality.encode(made).unflatten(0, (rows, steps))  # type: ignore[no-untyped-call]
    first, last = pictures.stored[ends[:, 0], None], pictures.stored[ends[:, 1], None]
    stored = torch.cat([first, between, last], dim=1).flatten(0, 1)
    captions = ["given", "found", *[""] * (steps - 2), "found", "given"]
    return sampler.spec.modality.show(Drawn(len(stored), [stored], columns=steps + 2, captions=captions)).picture


def _strips(config: Plain, sampler: Sampler, pictures: Pictures, latents: Latents) -> Files:
    """A picture for each direction that is asked for, and all of them as arrays."""
    import numpy as np

    from adversaria.core.files import replacing
    from adversaria.modalities.pictures import save_picture
    from adversaria.sampling.directions import by_labels, without_labels
    from adversaria.sampling.latents import Space

    space = Space(sampler, latents.space)
    found: dict[str, Tensor] = {}
    if "labels" in config["directions"] and pictures.classes is not None:
        towards = by_labels(latents.values, pictures.classes)
        found |= {_class_file(label, pictures.names[label]): vector for label, vector in towards.items()}
    if "sefa" in config["directions"]:
        vectors = without_labels(space, config["sefa_count"])
        found |= {f"sefa_{k}": vector for k, vector in enumerate(vectors)}
    files: Files = {}
    for name, vector in found.items():
        strip = _strip(config, sampler, latents, vector, space)
        files[f"direction_{name}.png"] = lambda path, strip=strip: save_picture(path, strip)  # type: ignore[misc]
    if found:
        arrays: Mapping[str, Any] = {name: vector.numpy() for name, vector in found.items()}

        def write(path: Path) -> None:
            with replacing(path) as file:
                np.savez(file, **arrays)

        files["directions.npz"] = write
    return files


def _class_file(label: int, name: str) -> str:
    """What the direction towards a class is called in names of files."""
    return f"labels_{label}" if name == str(label) else f"labels_{label}_{as_file_name(name, 60)}"


def _strip(config: Plain, sampler: Sampler, latents: Latents, vector: Tensor, space: Any) -> Tensor:
    """The first pictures moved along a direction, a row each; uint8 ``[3, H, W]``."""
    import torch

    from adversaria.core.modality import Drawn
    from adversaria.sampling.directions import moved

    rows, columns = min(len(latents), _MOST_ROWS), config["columns"]
    spread = space.deviation_along(vector) * config["reach"]
    places = moved(latents.at(torch.arange(rows)), vector, spread, columns)
    stored = sampler.spec.modality.encode(sampler.sample(len(places), given=places, batch_size=config["batch_size"]))
    captions = [f"{place:+.1f}" for place in torch.linspace(-config["reach"], config["reach"], columns).tolist()]
    return sampler.spec.modality.show(Drawn(len(stored), [stored], columns=columns, captions=captions)).picture


if __name__ == "__main__":
    import sys

    sys.exit(main())
