"""Trains what the reports in `docs/reports` compare, and writes them: four hours at most on two CPU cores, unattended.

    python -m studies.reports [--mnist <folder or archive>] [--cifar10 <folder or archive>] [--only mnist ...]

Without paths the data sets are downloaded. One run takes one core, as many at a time as there are cores. Started again
it leaves out what is finished, and goes on with what is not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations, product

from studies import ROOT
from studies.unattended import add_roots, add_workers, root_of, train_all

RUNS = ROOT / "outputs" / "reports"
SEEDS = (1, 2, 3)
BATCH = 64

#: networks of a size that trains on a CPU; 0.1 to 0.7 million parameters each
NETWORKS = {
    "mlp": (),
    "residual_mlp": (),
    "dcgan": ("width=16",),
    "sndcgan": ("width=8",),
}
LOSSES = {
    "nonsaturating": ("loss=nonsaturating",),
    "hinge": ("loss=hinge",),
    "least_squares": ("loss=least_squares",),
    "wasserstein_gp": ("loss=wasserstein", "regulariser=gradient_penalty"),
}

Choice = tuple[str, tuple[str, ...]]  # the name of its folder, and what to override


def sized(generator: str, discriminator: str, loss: str) -> tuple[str, ...]:
    """The loss, and the networks' widths of above."""
    overrides = [f"model.generator.{width}" for width in NETWORKS[generator]]
    overrides += [f"model.discriminator.{width}" for width in NETWORKS[discriminator]]
    if discriminator == "dcgan" and loss == "wasserstein_gp":
        overrides.append("model.discriminator.norm=none")  # the penalty is of single images
    return (*LOSSES[loss], *overrides)


def budget(images: int, evaluations: int) -> tuple[str, ...]:
    """As many updates as show D so many images, evaluated so many times."""
    steps = -(-images // BATCH)
    return (
        f"data.batch_size={BATCH}",
        f"trainer.max_steps={steps}",
        "optim.n_critic=1",
        f"callbacks.evaluation.every_n_steps={-(-steps // evaluations)}",
        "callbacks.evaluation.max_share=null",
        f"callbacks.samples.every_n_steps={steps}",
        "metrics.count=5000",
        "metrics.kid_subsets=20",
        "trainer.accelerator=cpu",
    )


def mnist() -> Iterator[Choice]:
    """Four pairs of networks under four losses."""
    for network, loss in product(NETWORKS, LOSSES):
        overrides = ("data=mnist", f"model={network}", *sized(network, network, loss), *budget(100_000, 4))
        yield f"{network}-{loss}", overrides


def cifar10() -> Iterator[Choice]:
    """DCGAN under four losses."""
    for loss in LOSSES:
        yield f"dcgan-{loss}", ("data=cifar10", "model=dcgan", *sized("dcgan", "dcgan", loss), *budget(200_000, 4))


def matrix() -> Iterator[Choice]:
    """Every generator with every discriminator that is not its own; those are in `mnist`."""
    for generator, discriminator in permutations(NETWORKS, 2):
        networks = (f"generator={generator}", f"discriminator={discriminator}")
        overrides = ("data=mnist", *networks, *sized(generator, discriminator, "nonsaturating"), *budget(100_000, 4))
        yield f"{generator}-{discriminator}", overrides


def more_data() -> Iterator[Choice]:
    """One pair of networks on more and more training images, compared with the test images."""
    for limit in (1_000, 10_000, 60_000):
        yield (
            f"{limit:05d}",
            (
                "data=mnist",
                f"data.limit={limit}",
                "metrics.references=[test]",
                "model=residual_mlp",
                *budget(100_000, 4),
            ),
        )


SETS = {"mnist": mnist, "cifar10": cifar10, "more_data": more_data, "matrix": matrix}
#: of other sets' runs, what a report compares too
ALSO = {"matrix": ("mnist/*-nonsaturating-[0-9]",)}


def main() -> int:
    """Trains and reports; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("mnist", "cifar10"))
    add_workers(parser)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), help="which reports (default: all)")
    arguments = parser.parse_args()
    failed = []
    for name in arguments.only:
        jobs = []
        for seed, (folder, overrides) in product(SEEDS, SETS[name]()):
            data = next(override.removeprefix("data=") for override in overrides if override.startswith("data="))
            jobs.append((RUNS / name / f"{folder}-{seed}", (*overrides, f"seed={seed}", *root_of(data, arguments))))
        failed += train_all(jobs, arguments.workers, name)
        runs = [str((RUNS / where).relative_to(ROOT)) for where in (name, *ALSO.get(name, ()))]
        subprocess.run(
            [sys.executable, str(ROOT / "compare.py"), *runs, f"out={ROOT}/docs/reports/{name}"], cwd=ROOT, check=True
        )
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
