"""Trains every small recipe on MNIST, one core and at most ten CPU minutes each, and writes `zoo.md` with their grids.

    python -m studies.zoo [--mnist <folder or archive>] [--only sngan_small ...] [--workers 2]

Without a path MNIST is downloaded. Started again it leaves out what is finished, and goes on with what is not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from studies import ROOT
from studies.unattended import add_roots, add_workers, cpu_minutes, root_of, train_all

RUNS, PICTURES = ROOT / "outputs" / "zoo", ROOT / "docs" / "images" / "zoo"
EXPERIMENTS = sorted(file.stem for file in (ROOT / "conf" / "experiment").glob("*_small.yaml"))
SCORES = ("fid10k", "precision10k", "recall10k", "class_accuracy10k")
HEAD = """# The zoo on MNIST

Every recipe in a size for two CPU cores (`experiment=<recipe>_small`, at most 0.5 million parameters in G), one run
each with seed 1 and one thread: what it has learned after the CPU minutes in the table, evaluation and start-up
included. All of it by

    python -m studies.zoo

FD is the Fréchet distance on the features of the package's MNIST classifier, 10,000 fakes of the moving average against
the 60,000 training images; precision and recall on the same features. Fingerprint `{fingerprint}`: compare with scores
of that fingerprint only. Trained in {precision}, the default where the CPU multiplies bfloat16 natively. These are no
rankings of the published recipes, which are larger and train a hundred times longer; one seed says little about small
differences. Class accuracy is the share of fakes that the classifier takes for the class they were asked for.

Two things to see. What it takes to follow labels: embeddings that are concatenated (`cgan`) and projection with fast
rates (`biggan`, `sagan`) manage within these minutes, the others draw digits first. And what every update costs: the
two penalties of R3GAN leave it few updates, in which it finds strokes and simple digits, but not their variety.

| recipe | FD | precision | recall | class accuracy | images | images/s | CPU minutes | parameters G / D | samples |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---|
"""


def row(name: str, result: dict[str, Any]) -> str:
    """A line of the table."""
    found = [result["metrics"].get(f"classifier_{score}") for score in SCORES]
    scores = ["" if score is None else f"{score:.3g}" for score in found]
    sizes = " / ".join(f"{result['cost']['parameters'][network]:,}" for network in ("generator", "discriminator"))
    cells = [
        f"`{name}`",
        *scores,
        f"{result['images_seen']:,}",
        f"{result['images_per_second']:.0f}",
        f"{cpu_minutes(RUNS / name):.1f}",
        sizes,
        f'<img src="images/zoo/{name}.png" width="200" alt="samples of {name}">',
    ]
    return f"| {' | '.join(cells)} |\n"


def write(results: dict[str, dict[str, Any]]) -> None:
    """The page and its pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        last = RUNS / name / "samples" / f"{result['generator_updates']:06d}.png"
        shutil.copyfile(last, PICTURES / f"{name}.png")
    [(fingerprint, precision)] = {(result["fingerprint_id"], result["precision"]) for result in results.values()}
    rows = "".join(row(name, result) for name, result in results.items())
    (ROOT / "docs" / "zoo.md").write_text(HEAD.format(fingerprint=fingerprint, precision=precision) + rows)


def main() -> int:
    """Trains and writes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("mnist",))
    add_workers(parser)
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS, help="which (default: all)")
    arguments = parser.parse_args()
    mnist = root_of("mnist", arguments)
    jobs = [
        (RUNS / name, (f"experiment={name}", "seed=1", "trainer.accelerator=cpu", *mnist)) for name in arguments.only
    ]
    failed = train_all(jobs, arguments.workers, "zoo")
    results = {}
    for name in EXPERIMENTS:
        file = RUNS / name / "result.json"
        if file.is_file():
            results[name] = json.loads(file.read_text())
    write(results)
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
