"""Looks for the latents of digits, those of a generator's own samples and real ones, and writes `editing.md`'s section.

    python -m studies.inversion [--mnist <folder or archive>]

With the run of `python -m studies.zoo --only dcgan_small`, which is trained if it is not there: a quarter of an hour on
one core, and as long again for what is measured. Without a path MNIST is downloaded.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from adversaria.cli.inprocess import compose
from adversaria.config.build import construct
from adversaria.core.modality import Drawn
from adversaria.data.module import DataModule
from adversaria.features.classifier_extractor import committed
from adversaria.modalities.pictures import save_picture
from adversaria.runs.checkpoints import read_checkpoint
from adversaria.sampling.directions import by_labels, moved, without_labels
from adversaria.sampling.inversion import Inverted, Settings, decibels, invert
from adversaria.sampling.latents import Latents, Space
from adversaria.sampling.restore import restore_discriminator
from adversaria.sampling.sampler import Sampler
from studies import ROOT
from studies.unattended import add_roots, root_of, train_all

RUN, EXPERIMENT = ROOT / "outputs" / "zoo" / "dcgan_small", "dcgan_small"
PAGE, PICTURES = ROOT / "docs" / "editing.md", ROOT / "docs" / "images" / "editing"
#: pictures that are looked for, and those of which directions by labels are learned
COUNT, LEARNED = 64, 400
#: weights on the latents' length
PRIORS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
#: of which two the effect is shown
SHOWN = (0.0, 0.01)
SEED = 7
#: marks around the section
BEGIN, END = "<!-- inversion: by python -m studies.inversion -->\n", "<!-- end of inversion -->\n"


class Model(NamedTuple):
    """What the checkpoint holds, and the digits."""

    sampler: Sampler
    discriminator: nn.Module | None
    data: DataModule

    def reals(self, count: int, split: str = "test") -> tuple[Tensor, Tensor]:
        """``count`` digits of a split, chosen at random, as networks see them, and their classes."""
        chosen = self.data.split("test" if split == "test" else "train")
        numbers = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(SEED))[:count]
        samples, labels = chosen.batch(numbers)
        assert labels is not None
        return self.sampler.spec.modality.decode(samples), labels

    def stored(self, latents: Latents) -> Tensor:
        """Their samples, uint8."""
        return self.sampler.spec.modality.encode(self.sampler.sample(len(latents), given=latents))


class Row(NamedTuple):
    """A line of the table: what was looked for and how, what was found, and the CPU seconds for each picture."""

    what: str
    how: str
    found: Inverted
    seconds: float
    nearest: Tensor | None = None

    def line(self) -> str:
        """In Markdown."""
        ratio, errors = decibels(self.found.errors), self.found.errors
        below = "" if self.nearest is None else f"{float((errors < self.nearest).float().mean()):.1%}"
        cells = [
            self.what,
            self.how,
            f"{errors.mean():.4f}",
            f"{float((errors <= 0.03).float().mean()):.1%}",
            below,
            f"{ratio.median():.1f}",
            f"{float((ratio >= 30).float().mean()):.1%}",
            f"{self.found.lengths.mean():.2f}",
            f"{self.seconds:.2f}",
        ]
        return f"| {' | '.join(cells)} |\n"


def opened(root: tuple[str, ...]) -> Model:
    """The trained networks and the data."""
    content = read_checkpoint(RUN)
    sampler = Sampler(content, raw=False, trust=[], device=torch.device("cpu"))
    data: DataModule = construct(compose(f"experiment={EXPERIMENT}", *root)["data"], "data", [])
    data.prepare()
    return Model(sampler, restore_discriminator(content, sampler.spec, []), data)


def looked_for(model: Model, what: str, how: str, targets: Tensor, settings: Settings) -> Row:
    """Latents of ``targets``, timed."""
    started = time.process_time()
    found = invert(model.sampler, targets, discriminator=model.discriminator, settings=settings)
    return Row(what, how, found, (time.process_time() - started) / len(targets))


def nearest(model: Model, targets: Tensor) -> Tensor:
    """The mean squared error of the nearest training image of each, ``[N]``."""
    train, best = model.data.split("train"), torch.full((len(targets),), float("inf"))
    for start in range(0, len(train), 5_000):
        others = model.sampler.spec.modality.decode(train.batch(slice(start, start + 5_000)).samples).flatten(1)
        best = torch.minimum(best, torch.cdist(targets.flatten(1), others).square().amin(dim=1) / others.shape[1])
    return best


def table(model: Model) -> tuple[list[Row], Tensor]:
    """All rows, and the real digits."""
    modality = model.sampler.spec.modality
    own = modality.decode(modality.encode(model.sampler.sample(COUNT, seed=123)))
    real, _ = model.reals(COUNT)
    least = nearest(model, real)
    longer, features = Settings(steps=1000), Settings(steps=1000, features=0.1)
    rows = [
        looked_for(model, "own samples", "as it comes", own, Settings()),
        looked_for(model, "test digits", "as it comes", real, Settings()),
        looked_for(model, "test digits", "`steps=1000`", real, longer),
        looked_for(model, "test digits", "`steps=1000 features=0.1`", real, features),
    ]
    return [row if row.what == "own samples" else row._replace(nearest=least) for row in rows], real


def confidence(stored: Tensor) -> tuple[Tensor, Tensor]:
    """How sure the package's classifier is of its answer, and the answer, ``[N]`` each."""
    network = committed("mnist")
    assert network is not None
    with torch.no_grad():
        _, logits = network(stored)
    shares, answers = logits.softmax(dim=1).max(dim=1)
    return shares, answers


def effect(model: Model) -> tuple[str, dict[float, tuple[Latents, dict[int, Tensor]]]]:
    """What the weight on the length does: to likeness, to what lies between two digits, and to what is moved.

    Returns:
        A table, and for each weight in `SHOWN` the latents with the directions towards the classes.
    """
    real, classes = model.reals(LEARNED)
    lines, kept = "", {}
    for prior in PRIORS:
        found = invert(model.sampler, real, settings=Settings(prior=prior))
        latents, towards = found.latents, dict(by_labels(found.latents.values, classes))
        middle = model.sampler.interpolate(LEARNED // 2, 3, given=latents)[1::3]
        between, _ = confidence(model.sampler.spec.modality.encode(middle))
        reached = torch.cat(
            [
                confidence(model.stored(moved_to(latents.at(torch.nonzero(classes != label)[:40, 0]), vector)))[1]
                == label
                for label, vector in towards.items()
            ]
        )
        _, same = confidence(model.stored(latents))
        cells = [
            f"{prior:g}",
            f"{found.errors.mean():.4f}",
            f"{found.lengths.mean():.2f}",
            f"{float((same == classes).float().mean()):.1%}",
            f"{float((between > 0.9).float().mean()):.1%}",
            f"{float(reached.float().mean()):.1%}",
        ]
        lines += f"| {' | '.join(cells)} |\n"
        if prior in SHOWN:
            kept[prior] = (latents, towards)
    return lines, kept


def moved_to(latents: Latents, vector: Tensor) -> Latents:
    """Each of the latents six standard deviations of the prior along a direction."""
    return Latents(latents.values + 6 * vector, latents.space, latents.labels)


def draw(model: Model, rows: list[Row], real: Tensor, kept: dict[float, tuple[Latents, dict[int, Tensor]]]) -> None:
    """All pictures."""
    modality = model.sampler.spec.modality
    given, long = modality.encode(real), next(row for row in rows if row.how == "`steps=1000`").found.latents
    found, count = model.stored(long), 16
    pairs = torch.cat([given[:count], found[:count]])
    show(PICTURES / "inversion_found.png", modality, pairs, columns=count)
    for prior, (latents, towards) in kept.items():
        named = f"{prior:g}".replace(".", "_")
        ends = torch.arange(6)[:, None] + torch.tensor([0, 1])
        paths = model.sampler.interpolate(6, 9, given=latents.at(ends.flatten()))
        show(PICTURES / f"inversion_paths_{named}.png", modality, modality.encode(paths), columns=9)
        strips = [model.stored(moved(latents.at(torch.arange(1)), towards[k], 6.0, 9)) for k in (0, 1, 3, 7, 8)]
        show(PICTURES / f"inversion_labels_{named}.png", modality, torch.cat(strips), columns=9)
    latents, _ = kept[SHOWN[-1]]
    vectors = without_labels(Space(model.sampler), 5)
    strips = [model.stored(moved(latents.at(torch.arange(1)), vector, 6.0, 9)) for vector in vectors]
    show(PICTURES / "inversion_sefa.png", modality, torch.cat(strips), columns=9)


def show(path: Path, modality: object, stored: Tensor, columns: int) -> None:
    """Writes a grid of ``stored``."""
    from adversaria.modalities import Image

    assert isinstance(modality, Image)
    save_picture(path, modality.show(Drawn(len(stored), [stored], columns=columns)).picture)


def write(rows: list[Row], lines: str) -> None:
    """Puts the section between its marks on the page, at the end of a page without any."""
    text = PAGE.read_text("utf-8") if PAGE.is_file() else "# Editing\n\n"
    if BEGIN not in text:
        text += f"{BEGIN}{END}"
    before, rest = text.split(BEGIN)
    section = HEAD + "".join(row.line() for row in rows) + EFFECT + lines + PICTURED
    PAGE.write_text(f"{before}{BEGIN}{section}{END}{rest.split(END)[1]}", "utf-8")


def main() -> int:
    """Trains, looks and writes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("mnist",))
    root = root_of("mnist", parser.parse_args())
    torch.set_num_threads(1)
    failed = train_all([(RUN, (f"experiment={EXPERIMENT}", "seed=1", "trainer.accelerator=cpu", *root))], 1, "zoo")
    if failed:
        print("\n".join(failed))
        return 1
    model = opened(root)
    rows, real = table(model)
    print("".join(row.line() for row in rows))
    lines, kept = effect(model)
    print(lines)
    draw(model, rows, real, kept)
    write(rows, lines)
    return 0


HEAD = """## Inversion

What has to be given to a generator so that it makes a picture that is there already?

```bash
python invert.py checkpoint=outputs/mine images=faces/                            # latents.npz, and a picture
python invert.py checkpoint=outputs/mine images=faces/ prior=0.01 interpolate=8   # paths from each picture to the next
python invert.py checkpoint=outputs/mine images=faces/ prior=0.01 directions=[labels,sefa]    # strips of edits
python sample.py checkpoint=outputs/mine latents=outputs/mine/inverted/faces/latents.npz format=png
```

Of `starts` latents of the prior the `keep` nearest ones are led on by Adam, and the best of them to the end. Distance
is that of pixels, and with `features=0.1` also that of the features of the checkpoint's own discriminator; nothing is
downloaded. Style-based generators are inverted in w, all others in z. Images are cropped and resized to the model's
size; of a conditional model class folders with the names of its classes say the class, else each class is tried.

With `experiment=dcgan_small` on MNIST (369,601 parameters in G), one thread; all of this section by
`python -m studies.inversion`. Errors are mean squared differences of pixels in [-1, 1], after rounding to 8 bits;
"nearer" is the share of pictures that are nearer to what was found than to any training image; the length of z is a
share of what the prior's latents have.

| 64 pictures | how | error | at most 0.03 | nearer | dB, median | at least 30 dB | length of z | CPU s each |
|---|---|---:|---:|---:|---:|---:|---:|---:|
"""
EFFECT = """
The latents that make a sample again need not be those it was made of: nothing is claimed of z.

![Digits of the test set above, what was found for them below](images/editing/inversion_found.png)

### What the weight on the length does

Latents far from the prior may make the picture and still be of no use: what lies around them is nothing that the model
was trained to make. `prior=` weighs their squared length. For 400 test digits: the share that the package's classifier
takes for the right digit; of the points half-way between two of them, the share of which it is sure (above 0.9); and
the share that becomes the wanted digit when six standard deviations along the direction towards it are added.

| `prior` | error | length of z | digit kept | half-way: sure | moved: reached |
|---:|---:|---:|---:|---:|---:|
"""
PICTURED = """
Paths between test digits, the ends found with `prior=0` on the left and `prior=0.01` on the right:

<img src="images/editing/inversion_paths_0.png" width="380" alt="paths between digits, no weight on the length">
<img src="images/editing/inversion_paths_0_01.png" width="380" alt="paths between digits, with the weight">

### Directions

With `directions=labels` a logistic regression on the latents of the pictures tells each class of their folders from the
others; its normal is the direction. Towards 0, 1, 3, 7 and 8, from -6 to 6 standard deviations of the prior, one test
digit, without and with the weight:

<img src="images/editing/inversion_labels_0.png" width="380" alt="strips towards five digits, no weight on the length">
<img src="images/editing/inversion_labels_0_01.png" width="380" alt="strips towards five digits, with the weight">

With `directions=sefa` nothing is learned: the directions are those in which the first layer's outputs change most (Shen
& Zhou 2021), the eigenvectors of its weights.

![The same digit along five directions of the weights](images/editing/inversion_sefa.png)
"""

if __name__ == "__main__":
    sys.exit(main())
