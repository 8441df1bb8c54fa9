"""Runs that fail on purpose and runs that do not: is each failure found, soon and by name, and nothing found elsewhere?

    python -m studies.failures [--workers 2] [--seeds 1 2 3] [--only <run> ...]

Trains `FIXTURES`, the healthy recipes `HEALTHY` and the ways back `RECOVERIES` (one thread and up to four CPU minutes
each, on the digits that come with scikit-learn and on points), shows what they and the finished runs of `studies.zoo`
measured to the detectors of `conf/callbacks/health.yaml`, and writes `failures.md` and the table in `stability.md`.
Started again it goes on where it was left. The classes that break things are named in configs as
``studies.failures.broken.<Class>``, with ``trust=[studies]``.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adversaria.health import Detector
from studies import ROOT
from studies.failures.replay import MARGINS, STRICTER, detectors, done, found_in, margin, readings, result_of
from studies.unattended import Job, add_workers, train_all

RUNS, ZOO = ROOT / "outputs" / "failures", ROOT / "outputs" / "zoo"

COMMON = (
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "logger=csv",
    "callbacks.health.every_n_steps=50",
    "callbacks.checkpoint.every_n_steps=100",
    "callbacks.evaluation.every_n_steps=100000",  # at the end alone
)
NO_SCORE, SCORED = "metrics=none", "metrics.count=2000"
NARROW_G, NARROW_D = "model.generator.width=32", "model.discriminator.width=32"
DIGITS = ("data=digits", "data.batch_size=32")
DCGAN = (*DIGITS, NARROW_G, NARROW_D)
WITHOUT_NORM = (*DCGAN, "model.generator.norm=none", "model.discriminator.norm=none")
OURS = "trust=[studies]"


@dataclass(frozen=True)
class Fixture:
    """A run and what is to be found in it.

    Attributes:
        what: in words.
        overrides: its command line.
        detector: the one that must find it; None: nothing may be found.
        within: generator updates until then.
    """

    what: str
    overrides: tuple[str, ...]
    detector: str | None = None
    within: int = 0


def disturbed(step: int, factor: float) -> str:
    """The override that adds a `Disturb`."""
    return f"+callbacks.disturb={{_target_: studies.failures.broken.Disturb, step: {step}, factor: '{factor}'}}"


def updates(count: int) -> str:
    """The override that sets the length."""
    return f"trainer.max_steps={count}"


FIXTURES = {
    "rates_times_50": Fixture(
        "both rates 50 times the default, DCGAN without BatchNorm",
        (*WITHOUT_NORM, SCORED, "optim.generator.lr=0.01", "optim.discriminator.lr=0.01", updates(1500)),
        "discriminator_won",
        600,
    ),
    "wasserstein_unclipped": Fixture(
        "Wasserstein loss without clipping or penalty, fully connected",
        ("data=digits", "model=mlp", NO_SCORE, "loss=wasserstein", updates(1500)),
        "exploding_gradients",
        1500,
    ),
    "discriminator_faster": Fixture(
        "G's rate a tenth of D's",
        (*DCGAN, NO_SCORE, "optim.generator.lr=2.0e-5", updates(800)),
        "discriminator_won",
        600,
    ),
    "constant_generator": Fixture(
        "G ignores its latent",
        (
            *DIGITS,
            NARROW_D,
            NO_SCORE,
            "~model.generator",
            "+model.generator={_target_: studies.failures.broken.ConstantGenerator, latent_dim: 8}",
            OURS,
            updates(800),
        ),
        "generator_collapse",
        800,
    ),
    "few_images": Fixture(
        "200 training images, no augmentation, fully connected D",
        (*DIGITS, NARROW_G, NO_SCORE, "data.limit=200", "discriminator=mlp", updates(2000)),
        "discriminator_overfits",
        2000,
    ),
    "not_a_number": Fixture(
        "gradients of update 417 are NaN",
        (*DCGAN, NO_SCORE, disturbed(417, math.nan), OURS, updates(600)),
        "not_finite",
        450,
    ),
    "spike": Fixture(
        "gradients of update 717 times 100,000",
        (*DCGAN, SCORED, disturbed(717, 1e5), OURS, updates(1500)),
        "exploding_gradients",
        750,
    ),
    "deep_generator": Fixture(
        "32 fully connected layers in G",
        (
            "data=digits",
            "model=mlp",
            NO_SCORE,
            "model.generator.depth=32",
            "model.generator.width=64",
            updates(600),
        ),
        "vanishing_gradients",
        600,
    ),
}
HEALTHY = {
    "dcgan_digits": Fixture("DCGAN on digits", (*DCGAN, SCORED, updates(1500))),
    "dcgan_without_norm": Fixture("DCGAN without BatchNorm on digits", (*WITHOUT_NORM, SCORED, updates(1500))),
    "mlp_ring8": Fixture(
        "fully connected, on 8 Gaussians",
        ("data=ring8", "model=mlp", "callbacks.health.every_n_steps=100", updates(10_000)),
    ),
    "vae_digits": Fixture(
        "VAE on digits",
        (
            "data=digits",
            "model=vae",
            NO_SCORE,
            "model.generator.width=32",
            "model.encoder.width=32",
            updates(800),
        ),
    ),
}
#: fixtures that are put back: the healthy run of the same length that their final score is compared with, and by what
#: their rates are multiplied (the default, and less: after an accident they need not fall)
RECOVERIES = {"rates_times_50": ("dcgan_without_norm", 0.25), "spike": ("dcgan_digits", 0.5)}
SCORE = "classifier_fid2k"


def watched(names: Iterable[str], seeds: list[int]) -> list[Job]:
    """Every run that is only looked at."""
    runs = FIXTURES | HEALTHY
    return [
        (RUNS / f"{name}_{seed}", (*COMMON, *runs[name].overrides, "guard=watch", f"seed={seed}"))
        for name in names
        for seed in seeds
        if name in runs
    ]


def recovered(names: Iterable[str], seeds: list[int]) -> list[Job]:
    """Every run that is put back."""
    return [
        (
            RUNS / f"{name}_rollback_{seed}",
            (
                *COMMON,
                *FIXTURES[name].overrides,
                "guard=rollback",
                f"callbacks.guard.rate_factor={RECOVERIES[name][1]}",
                f"seed={seed}",
            ),
        )
        for name in names
        for seed in seeds
        if name in RECOVERIES
    ]


#: marks around the table in `stability.md`
BEGIN, END = "<!-- confusion: by studies.failures -->\n", "<!-- end of confusion -->\n"
HEAD = """# Failures on purpose

Does every failure get its name, and nothing else one? Runs that were made to fail and runs that were not: after how
many generator updates each detector of `conf/callbacks/health.yaml` found something (seed {seeds}; – for nothing). The
detector that a fixture is made for is **bold**; that others speak up as well is no error, because failures come in
company: a generator through which no gradient passes also makes the same sample of every latent. All of it by

    python -m studies.failures{options}

"""
CLOSENESS = """
## How far healthy runs stay from an alarm

How many times stricter the thresholds of a detector might be, up to {largest:g} times, without an alarm in any healthy
run, and which run would be the first to raise one.

| detector | times stricter | the run that comes closest | healthy runs |
|---|---:|---|---:|
"""
WAYS_BACK = """
## The way back

The same failures with `guard=rollback`: the final score (`{score}`, lower is better) beside that of the healthy run
of the same length and seed, and that of the run that was left alone.

| fixture | seed | `rate_factor` | healthy | left alone | put back | put back / healthy | rollbacks | found by |
|---|---:|---:|---:|---:|---:|---:|---:|---|
"""


def confusion(seeds: list[int], by: dict[str, Detector]) -> str:
    """The table of what was found where."""
    lines = [
        f"| run | what | updates | {' | '.join(f'`{name}`' for name in by)} |\n",
        f"|---|---|---:|{'---:|' * len(by)}\n",
    ]
    rows: dict[str, tuple[Fixture, list[Path]]] = {
        name: (fixture, [RUNS / f"{name}_{seed}" for seed in seeds]) for name, fixture in (FIXTURES | HEALTHY).items()
    }
    rows |= {run.name: (Fixture("of the zoo", ()), [run]) for run in zoo()}
    for name, (fixture, runs) in rows.items():
        found = [found_in(run, by) for run in runs if done(run)]
        if not found:
            continue
        cells = []
        for detector in by:
            steps = [str(one.get(detector, "–")) for one in found]
            cell = ", ".join(steps) if any(step != "–" for step in steps) else "–"
            cells.append(f"**{cell}**" if detector == fixture.detector else cell)
        length = max(result_of(run)["generator_updates"] for run in runs if done(run))
        lines.append(f"| `{name}` | {fixture.what} | {length:,} | {' | '.join(cells)} |\n")
    return "".join(lines)


def closeness(seeds: list[int], by: dict[str, Detector]) -> str:
    """The table of margins."""
    healthy = [run for name in HEALTHY for seed in seeds if done(run := RUNS / f"{name}_{seed}")] + zoo()
    lines = []
    for name in STRICTER:
        judged = [run for run in healthy if any(map(by[name].judges, readings(run)))]
        if not judged:
            continue
        least, closest = min((margin(run, name, by[name]), f"`{run.name}`") for run in judged)
        sign, closest = ("≥ ", "") if least == MARGINS[-1] else ("", closest)
        lines.append(f"| `{name}` | {sign}{least:g} | {closest} | {len(judged)} |\n")
    return "".join(lines)


def ways_back(seeds: list[int]) -> str:
    """The table of rollbacks."""
    lines = []
    for name, (healthy, factor) in RECOVERIES.items():
        for seed in seeds:
            runs = [RUNS / f"{run}_{seed}" for run in (healthy, name, f"{name}_rollback")]
            if not all(done(run) for run in runs):
                continue
            well, left, back = (result_of(run)["metrics"].get(SCORE, math.nan) for run in runs)
            records = result_of(runs[-1])["rollbacks"]
            how = ", ".join(f"`{r['detector']}` at {r['step']} → {r['to_step']}" for r in records)
            scores = f"{well:.3g} | {left:.3g} | {back:.3g} | {back / well:.2f}"
            lines.append(f"| `{name}` | {seed} | {factor:g} | {scores} | {len(records)} | {how} |\n")
    return "".join(lines)


def zoo() -> list[Path]:
    """The finished runs of `studies.zoo`."""
    return sorted(run for run in ZOO.glob("*") if run.is_dir() and done(run))


def main() -> int:
    """Trains and writes; its exit code: 1 if a run broke, a fixture was not found in time, or an alarm was false."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_workers(parser)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the runs (default: 1)")
    parser.add_argument("--only", nargs="+", choices=[*FIXTURES, *HEALTHY], help="which (default: all)")
    parser.add_argument("--write", action="store_true", help="train nothing, write from what is there")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "docs"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    names = arguments.only or [*FIXTURES, *HEALTHY]
    jobs = [] if arguments.write else watched(names, arguments.seeds) + recovered(names, arguments.seeds)
    failed = train_all(jobs, arguments.workers, "failures")
    by, seeds = detectors(), arguments.seeds
    options = "" if seeds == [1] else f" --seeds {' '.join(map(str, seeds))}"
    (ROOT / "docs" / "failures.md").write_text(
        HEAD.format(seeds=", ".join(map(str, seeds)), options=options)
        + confusion(seeds, by)
        + CLOSENESS.format(largest=MARGINS[-1])
        + closeness(seeds, by)
        + WAYS_BACK.format(score=SCORE)
        + ways_back(seeds)
    )
    show_on_page(confusion(seeds, by))
    failed += wrong(seeds, by)
    print("\n".join(failed))
    return 1 if failed else 0


def show_on_page(table: str) -> None:
    """Puts ``table`` between its marks in `stability.md`."""
    page = ROOT / "docs" / "stability.md"
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}{table}{END}{rest.split(END)[1]}")


def wrong(seeds: list[int], by: dict[str, Detector]) -> list[str]:
    """Fixtures that were not found in time and alarms in healthy runs, a line each."""
    lines = []
    for name, fixture in FIXTURES.items():
        for run in (run for seed in seeds if done(run := RUNS / f"{name}_{seed}")):
            step = found_in(run, by).get(fixture.detector or "")
            if step is None or step > fixture.within:
                lines.append(f"{run.name}: {fixture.detector} at {step}, expected within {fixture.within}")
    for run in [run for name in HEALTHY for seed in seeds if done(run := RUNS / f"{name}_{seed}")] + zoo():
        lines += [f"{run.name}: {name} at {step}, but the run is healthy" for name, step in found_in(run, by).items()]
    return lines


if __name__ == "__main__":
    sys.exit(main())
