"""How fast the recipes train: against a plain PyTorch loop of the same recipe, and against what the device can do.

    python benchmarks/speed.py                                        # about twelve minutes for all, on a CPU
    python benchmarks/speed.py --only 'dcgan*' sndcgan --budget 120
    python benchmarks/speed.py --variants                             # each means of speed on its own
    python benchmarks/speed.py --device cuda --budget 560 --precision 32-true bf16-mixed --compile false true
    python benchmarks/speed.py --only sndcgan -- data=cifar10 data.root=cifar-10-python.tar.gz

On a CPU the recipes in a small size (`experiment=<recipe>_small`) and two of full width, on a GPU those of full size.
The images are scikit-learn's digits at the recipe's size, which every machine has: what they show does not change the
speed. What follows ``--`` goes to each recipe as to `train.py`.

The framework trains with its defaults, callbacks and logging included; the plain loop (`plain.Loop` without means) is
float32, contiguous, with a DataLoader, an optimizer that is not fused and losses read at each step. They take turns in
one process, so that a machine whose speed drifts slows both: ratios are medians over turns, rates those of the
framework's median turn. Each row has a process of its own, and an equal share of the time that is left.

- samples/s: those that G's steps are made of; reals/s: those shown to D.
- utilisation: floating-point operations of a whole update that the recipe needs, over those that a product of large
  square matrices reaches in the same precision on the same device.
- memory: the peak of the framework's first updates, on a CPU that of the whole process with libraries and data.
- first step: from the parsed config, with data at hand, to the end of the first update.
- bound by: where the largest share of a profiled update goes (see `bounds.Shares`).
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import json
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from bounds import Shares, bound, ceiling, flops_per_update
from lightning.pytorch.callbacks import Callback
from plain import Loop, Means, cores
from rows import ROWS, Row, as_markdown, variants_as_markdown
from turns import TakeTurns, alternate, clock, config_of, fit, period_of

from adversaria.cli.inprocess import compose
from adversaria.config.build import construct
from adversaria.evaluation import cost
from adversaria.nn.layers import mixes_samples
from adversaria.training.experiment import Experiment, build_experiment, trainer_node

#: how long a row may take beyond its share before it is given up, in seconds
GRACE = 120
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Beginning(Callback):
    """When the first update was over, and the peak memory until the turns begin."""

    def __init__(self, device: torch.device, updates: int) -> None:
        self.device, self.updates = device, updates

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Looks at the clock, later at the memory."""
        if trainer.global_step == 1:
            self.first = clock()
        if trainer.global_step == self.updates:
            self.memory = cost.peak_memory(self.device)


def built(overrides: list[str]) -> tuple[Experiment, float]:
    """The experiment, and when its building began, after its data were there."""
    config = config_of(*overrides)
    data = construct(config["data"], "data", config["trust"])
    data.prepare()
    began = clock()
    return build_experiment(config, data), began


def measure(row: Row, overrides: list[str], device: torch.device, until: float) -> Iterator[dict[str, Any]]:
    """One row of the table, at the end."""
    torch.zeros(1, device=device)  # a GPU's allocator has no peak to forget before it is used
    cost.reset_peak_memory(device)
    experiment, began = built(overrides)
    precision, period = trainer_node(experiment.config)["precision"], period_of(experiment)
    workers = min(cores(), 4 if device.type == "cuda" else 2)
    reserve = 0.12 * (until - clock())  # for what comes after the turns
    turns = TakeTurns(lambda: Loop(experiment, device, Means(), workers), period=period, until=until - reserve)
    beginning, shares = Beginning(device, turns.warm), Shares(period, lambda: turns.done)
    fit(experiment, beginning, turns, shares)
    flops = flops_per_update(experiment, device, period)
    most = ceiling(device, DTYPES[precision])
    _, seconds = turns.result.seconds_per_step()
    optim, batch = experiment.system.optim, experiment.data.batch_size
    yield {
        "precision": precision,
        "samples_per_second": (optim.generator_batch or batch) / seconds,
        "reals_per_second": optim.n_critic * batch / seconds,
        "updates_per_second": 1 / seconds,
        "ratio": turns.result.ratio(),
        "ratio_range": turns.result.spread(),
        "turns": len(turns.result.pairs),
        "updates_per_turn": turns.result.steps,
        "flops_per_update": flops,
        "matrix_product_flops_per_second": most,
        "utilisation": flops / seconds / most,
        "peak_memory_mib": beginning.memory,
        "seconds_to_first_step": beginning.first - began,
        "bound_by": bound(shares.shares),
        "shares": shares.shares,
        "target": row.target,
        "target_ratio": row.ratio,
    }


def idle_means(experiment: Experiment) -> set[str]:
    """Those that would change nothing in this recipe."""
    system: Any = experiment.system
    idle = {"joint"} if mixes_samples(system.discriminator) else set()
    return idle | ({"one_fake_pass"} if system.optim.n_critic == 1 else set())


def measure_variants(row: Row, overrides: list[str], device: torch.device, until: float) -> Iterator[dict[str, Any]]:
    """Each means of speed added to the plain loop, and left out of the full one; what is known so far, each time."""
    experiment, _ = built(overrides)
    bf16 = trainer_node(experiment.config)["precision"] == "bf16-mixed"
    period, ratios = period_of(experiment), {}
    every = Means.all(bf16=bf16)
    pairs = {"all but compiled": (Means(), every)}
    for name in (field.name for field in fields(Means) if field.name not in idle_means(experiment)):
        pairs[f"{name}, alone"] = Means(), Means(**{name: True})
        settings = {"bf16": bf16, name: True}
        pairs[f"{name}, last"] = Means.all(**{**settings, name: False}), Means.all(**settings)
    for done, (name, (before, after)) in enumerate(pairs.items()):
        limit = clock() + max(0.0, until - clock()) / (len(pairs) - done)
        try:
            loops = (Loop(experiment, device, means) for means in (before, after))
            ratios[name] = alternate(*loops, period=period, until=limit).ratio()
        except Exception as error:  # inductor fails in many ways, and the others are still of interest
            print(f"{row.name}, {name}: {str(error).splitlines()[0]}", file=sys.stderr)
        yield {"ratios": ratios}


def in_child(connection: Connection, row: Row, overrides: list[str], device: str, ends: float, which: str) -> None:
    """Measures in a process of its own, until the time ``ends``, and sends the result, or why there is none."""
    until = clock() + ends - time.time()
    logging.getLogger("adversaria").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    work = {"speed": measure, "variants": measure_variants}[which]
    try:
        for result in work(row, overrides, torch.device("cuda:0" if device == "cuda" else device), until):
            connection.send(result)
    except Exception as error:
        connection.send({"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"})


def isolated(row: Row, overrides: list[str], device: str, seconds: float, which: str) -> dict[str, Any]:
    """The last that `in_child` sends."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "lightning", "adversaria.training.experiment", "bounds", "turns", "rows"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=in_child, args=(theirs, row, overrides, device, time.time() + seconds, which))
    process.start()
    theirs.close()
    latest, limit = {"error": f"no answer in {seconds + GRACE:.0f} seconds"}, clock() + seconds + GRACE
    try:
        while ours.poll(max(0.0, limit - clock())):
            latest = ours.recv()
    except EOFError:  # there is no more to come
        process.join(20)
        if process.exitcode:
            latest = {"error": f"the process ended with code {process.exitcode}"}
    process.kill()
    process.join()
    return latest


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default, help=f"default here: {default}")
    parser.add_argument("--budget", type=float, default=700, help="seconds for the whole table (default: 700)")
    parser.add_argument("--only", nargs="+", default=["*"], help="rows by name, * stands for anything (default: all)")
    parser.add_argument("--precision", nargs="+", default=["auto"], help="trainer.precision, one row each")
    parser.add_argument("--compile", nargs="+", default=["auto"], help="compile, one row each")
    parser.add_argument("--variants", action="store_true", help="each means of speed on its own instead of the table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table")
    parser.add_argument("overrides", nargs="*", help="for every recipe, after --")
    return parser.parse_args(argv)


def main() -> None:
    """Measures row by row, and writes after each."""
    arguments = arguments_of()
    ends = time.monotonic() + arguments.budget
    accelerator = "gpu" if arguments.device == "cuda" else "cpu"
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # or the profiler tells of each GPU that is not there
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a look for GPUs must not keep the forked ones from using them
    if accelerator == "cpu":
        # Each optimizer step of PyTorch's CUDA build looks for a GPU, which takes 0.3 ms where no GPU is.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    rows = [r for r in ROWS[arguments.device] if any(fnmatch.fnmatch(r.name, only) for only in arguments.only)]
    if not rows:
        raise SystemExit(f"--only names no row of {', '.join(row.name for row in ROWS[arguments.device])}")
    settings = [("trainer.precision", arguments.precision)]
    if "compile" in compose():
        settings.append(("compile", arguments.compile))
    names, values = zip(*settings, strict=True)
    jobs = [(row, dict(zip(names, chosen, strict=True))) for row in rows for chosen in itertools.product(*values)]
    which = "variants" if arguments.variants else "speed"
    device = torch.cuda.get_device_name() if accelerator == "gpu" else f"{cores()} CPU cores"
    table: dict[str, Any] = {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rows": [],
    }
    for done, (row, chosen) in enumerate(jobs):
        share = max(0.0, ends - time.monotonic()) / (len(jobs) - done)
        given = [*row.overrides, f"trainer.accelerator={accelerator}", *(f"{k}={v}" for k, v in chosen.items())]
        result = isolated(row, [*given, *arguments.overrides], arguments.device, share, which)
        table["rows"].append({"name": row.name, **chosen, **result})
        text = (variants_as_markdown if arguments.variants else as_markdown)(table)
        print(text.splitlines()[-1] if done else text, flush=True)
        if arguments.markdown:
            arguments.markdown.write_text(text + "\n", "utf-8")
        if arguments.json:
            arguments.json.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
