"""Seconds and memory of the arithmetic of scores, without the network: 10,000 fakes against 10,000 reals.

    python benchmarks/metrics.py                # 2048 dimensions, as Inception has
    python benchmarks/metrics.py --dim 192      # as the classifiers have

Features are positive and correlated, as those of a network are. Each score is taken in a process of its own. Printed:
the median seconds of a few calls, and the memory at their peak beyond the features themselves (from Linux's /proc).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from adversaria.evaluation.metrics.frechet import RunningGaussian, frechet_distance, symmetric_root
from adversaria.evaluation.metrics.kernel import kernel_distance
from adversaria.evaluation.metrics.neighbours import neighbour_scores

#: ``make(real, fake)`` -> the call to measure, after what is prepared once for each reference
Make = Callable[[Tensor, Tensor], Callable[[], object]]


def features(count: int, dim: int, seed: int) -> Tensor:
    """``[count, dim]`` float32, >= 0, of full rank and with decaying variances along random directions."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0)) / dim**0.5
    mixing *= torch.linspace(2, 0.05, dim)[:, None]
    x = torch.empty(count, dim)
    for part in torch.split(x, 1000):
        part.copy_((torch.randn(len(part), dim, generator=generator) @ mixing).relu_())
    return x


def frechet(real: Tensor, fake: Tensor) -> Callable[[], object]:
    """The statistics of the fakes and the distance; those of the reals are cached by every run."""
    gaussian = RunningGaussian(real.shape[1])
    for part in torch.split(real, 1000):
        gaussian.update(part)
    mean, root = gaussian.mean, symmetric_root(gaussian.covariance)
    return lambda: frechet_distance(fake, mean, root)


def kernel(real: Tensor, fake: Tensor) -> Callable[[], object]:
    """100 subsets of 1,000."""
    return lambda: kernel_distance(fake, real, 100, min(1000, len(real)))


def neighbours(real: Tensor, fake: Tensor) -> Callable[[], object]:
    """Precision, recall, density and coverage."""
    return lambda: neighbour_scores(real, fake)


CASES: dict[str, Make] = {"frechet": frechet, "kernel": kernel, "neighbours": neighbours}


def memory_mib(field: Literal["VmRSS", "VmHWM"]) -> float:
    """What this process holds now, or the most it has held since the peak was reset."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(name: str, count: int, dim: int, repeats: int) -> tuple[float, float]:
    """Median seconds and MiB beyond the inputs."""
    CASES[name](*torch.split(features(128, 32, 0), 64))()  # what libraries allocate when first used
    call = CASES[name](features(count, dim, 1), features(count, dim, 2))
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # resets the peak
    before, seconds = memory_mib("VmRSS"), []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), memory_mib("VmHWM") - before


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="of reals and of fakes")
    parser.add_argument("--dim", type=int, default=2048, help="of the features")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{arguments.count} x {arguments.dim} features, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in CASES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, mib = pool.submit(measure, name, arguments.count, arguments.dim, arguments.repeats).result()
        print(f"{name:12} {seconds:8.2f} s {mib:8.0f} MiB")


if __name__ == "__main__":
    main()
