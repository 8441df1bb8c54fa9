"""Trains autoencoders and GANs of one size on MNIST for about as many CPU seconds each, and writes what came of them.

    python -m studies.autoencoders [--mnist <folder or archive>] [--only vae vae_gan ...] [--workers 2]

Without a path MNIST is downloaded. Started again it leaves out what is finished, and goes on with what is not. The
table stands in `docs/editing.md`, the pictures beside it under `docs/images/autoencoders`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from studies import ROOT
from studies.unattended import add_roots, add_workers, cpu_minutes, root_of, train_all

RUNS, PICTURES = ROOT / "outputs" / "autoencoders", ROOT / "docs" / "images" / "autoencoders"
NARROW = ("model.generator.width=16", "model.discriminator.width=16")
#: the recipes, G and D of one width, and as many updates as take equal time; the last one is made to fail
RECIPES: dict[str, tuple[str, ...]] = {
    "vae": ("experiment=vae_small",),
    "vae_gan": ("experiment=vae_gan_small",),
    "dcgan": ("experiment=dcgan_small", *NARROW, "trainer.max_steps=5500"),
    "cgan": ("experiment=cgan_small", *NARROW, "trainer.max_steps=5500"),
    "vae_gan_blind": ("experiment=vae_gan_small", "model.gamma=0", "optim.encoder.lr=1.0e-6"),
}
#: marks around the table
BEGIN, END = "<!-- autoencoders: by studies.autoencoders -->\n", "<!-- end of autoencoders -->\n"
HEAD = """| | FD | precision | recall | reconstruction error | class kept | found | updates | CPU seconds |
|---|---:|---:|---:|---:|---:|---|---:|---:|
"""
SCORES = (
    *("classifier_fid10k", "classifier_precision10k", "classifier_recall10k"),
    *("reconstruction_error", "reconstruction_class_kept"),
)


def row(name: str, result: dict[str, Any]) -> str:
    """A line of the table."""
    found = [result["metrics"].get(score) for score in SCORES]
    cells = [
        f"`{name}`",
        *("" if score is None else f"{score:.3g}" for score in found),
        ", ".join(f"`{finding['detector']}` at {finding['step']}" for finding in result["findings"]),
        f"{result['generator_updates']:,}",
        f"{60 * cpu_minutes(RUNS / name):.0f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def write(results: dict[str, dict[str, Any]]) -> None:
    """The table between its marks, and the pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        samples = RUNS / name / "samples"
        for kind, file in (("samples", ""), ("reconstructions", "reconstructions_")):
            last = samples / f"{file}{result['generator_updates']:06d}.png"
            if last.is_file():
                shutil.copyfile(last, PICTURES / f"{name}_{kind}.png")
    page = ROOT / "docs" / "editing.md"
    before, rest = page.read_text().split(BEGIN)
    table = HEAD + "".join(row(name, result) for name, result in results.items())
    page.write_text(f"{before}{BEGIN}{table}{END}{rest.split(END)[1]}")


def main() -> int:
    """Trains and writes; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_roots(parser, ("mnist",))
    add_workers(parser)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES), help="which (default: all)")
    arguments = parser.parse_args()
    mnist = root_of("mnist", arguments)
    jobs = [(RUNS / name, (*RECIPES[name], "seed=1", "trainer.accelerator=cpu", *mnist)) for name in arguments.only]
    failed = train_all(jobs, arguments.workers, "autoencoders")
    files = {name: RUNS / name / "result.json" for name in RECIPES}
    write({name: json.loads(file.read_text()) for name, file in files.items() if file.is_file()})
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
