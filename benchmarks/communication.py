"""Plans for more devices: bytes that each recipe exchanges, and the speed-up that links of a kind leave of it.

    python benchmarks/communication.py
    python benchmarks/communication.py --ms sngan=21 --ms stylegan2=32 --json plan.json

Counted from the configs: parameters, buffers, FLOPs (a multiply-add is two; without penalties), and the messages of one
generator update. Not measured: everything else. An update's computing time is its FLOPs at ``--tflops``, or
``--launch-ms`` for each of its optimizer steps if that is longer; ``--ms`` puts a measured time in its place. A ring
all-reduce of S bytes among n devices then takes

    latency + 2 (n - 1) / n * S / bandwidth,    latency = base + (steps - inter) * hop + inter * hop between machines

with steps = 2 (n - 1) and inter = 2 (machines - 1). It is added to the computing time, because the exchange comes after
the last `backward`. Sources: Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms"; the cost model and the
latencies of NVIDIA/nccl, src/graph/tuning.cc (ring, protocol Simple); NVIDIA/nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tables import as_table

from adversaria.cli.inprocess import compose
from adversaria.core.types import DataSpec
from adversaria.evaluation import cost
from adversaria.modalities import Image
from adversaria.systems.build import build_system

FIGURE = Path(__file__).parent.parent / "docs" / "images" / "scale.png"
#: seconds of an all-reduce before its first hop
BASE = 8.4e-6
PER_MACHINE = 8
DEVICES = (1, 2, 4, 8, 16, 32, 64)
#: overrides, side of the images
RECIPES: dict[str, tuple[tuple[str, ...], int]] = {
    "dcgan": (("model=dcgan", "data=cifar10"), 32),
    "sndcgan": (("experiment=sndcgan_cifar10",), 32),
    "sngan": (("experiment=sngan_cifar10",), 32),
    "sagan": (("experiment=sagan_cifar10",), 32),
    "biggan_large": (("experiment=biggan_large_cifar10",), 32),
    "stylegan2": (("experiment=stylegan2_ada_cifar10",), 32),
    "stylegan2, 64 px": (("experiment=stylegan2_celeba64",), 64),
    "r3gan": (("experiment=r3gan_cifar10",), 32),
}


@dataclass(frozen=True)
class Links:
    """How devices are connected: bytes per second of one direction, and seconds of a hop.

    Attributes:
        near, near_hop: within a machine.
        far, far_hop: between machines, whose devices share it.
    """

    near: float
    near_hop: float
    far: float
    far_hop: float

    def seconds(self, size: float, devices: int) -> float:
        """For one all-reduce of ``size`` bytes."""
        if devices == 1:
            return 0.0
        machines = math.ceil(devices / PER_MACHINE)
        steps, inter = 2 * (devices - 1), 2 * (machines - 1)
        bandwidth = self.near if machines == 1 else min(self.near, self.far)
        latency = BASE + (steps - inter) * self.near_hop + inter * self.far_hop
        return latency + 2 * (devices - 1) / devices * size / bandwidth


#: NVLink 4 has 900 GB/s in both directions together, PCIe 4.0 x16 32 GB/s in each; the hop over TCP is what is left of
#: 163 us for 16 devices on two machines (nccl-tests, 100 Gb/s, 2019) after the others
LINKS = {
    "NVLink 4, InfiniBand 400 Gb/s": Links(450e9, 3.4e-6, 50e9, 9.6e-6),
    "NVLink 4, Ethernet 100 Gb/s": Links(450e9, 3.4e-6, 12.5e9, 30e-6),
    "PCIe 4.0, Ethernet 10 Gb/s": Links(32e9, 5.7e-6, 1.25e9, 30e-6),
}


@dataclass(frozen=True)
class Recipe:
    """What one generator update of a recipe computes and sends on each device.

    Attributes:
        name: as in the table.
        generator, discriminator: parameters.
        n_critic: D steps.
        messages: ``(bytes, how many in an update)`` of each kind of all-reduce.
        flops: without penalties.
        steps: of optimizers, lazy ones in their share.
    """

    name: str
    generator: int
    discriminator: int
    n_critic: int
    messages: list[tuple[int, float]]
    flops: float
    steps: float

    @property
    def sent(self) -> float:
        """Bytes of all messages of an update."""
        return sum(size * count for size, count in self.messages)

    def efficiency(self, links: Links, devices: int, computing: float) -> float:
        """Throughput over ``devices`` times that of one device, if an update computes for ``computing`` seconds."""
        exchange = sum(count * links.seconds(size, devices) for size, count in self.messages)
        return computing / (computing + exchange)


def recipe(name: str, overrides: tuple[str, ...], side: int) -> Recipe:
    """Builds the networks of a recipe and counts."""
    config = compose(*overrides, f"data.size={side}")
    system: Any = build_system(config, DataSpec((3, side, side), 10, Image()))
    measured = cost.measure(system, system.sampler, torch.device("cpu"), latency=False)
    networks = {"generator": system.generator, "discriminator": system.discriminator}
    sizes = {name: sum(4 * p.numel() for p in net.parameters() if p.requires_grad) for name, net in networks.items()}
    steps = {"generator": 1.0, "discriminator": float(system.optim.n_critic)}
    for lazy in {(t.applies_to, t.interval) for t in system.terms.values() if t.interval > 1}:
        steps[lazy[0]] += (1 if lazy[0] == "generator" else system.optim.n_critic) / lazy[1]
    buffers = sum(4 * b.numel() for b in system.buffers() if b.is_floating_point())
    messages = [(sizes[name], steps[name]) for name in networks]
    if buffers:
        messages.append((buffers // 2, 0.5))  # a broadcast makes half the way of an all-reduce
    g, d, batch = measured["flops"]["generator"], measured["flops"]["discriminator"], config["data"]["batch_size"]
    # A backward pass is two forward passes; one for the inputs alone, as that of D in the G step, is one.
    of_d_steps = system.optim.n_critic * batch * (g + 2 * 3 * d)
    of_g_step = (system.optim.generator_batch or batch) * (3 * g + 2 * d)
    parameters = measured["parameters"]
    return Recipe(
        name=name,
        generator=parameters["generator"],
        discriminator=parameters["discriminator"],
        n_critic=system.optim.n_critic,
        messages=messages,
        flops=float(of_d_steps + of_g_step),
        steps=sum(steps.values()),
    )


def draw(recipes: list[Recipe], computing: dict[str, float]) -> None:
    """The share of a linear speed-up that is left, over the number of devices."""
    import matplotlib.pyplot as plt

    ink, colours, hardest = "#333333", plt.get_cmap("viridis"), list(LINKS.values())[1]
    recipes = sorted(recipes, key=lambda r: -r.efficiency(hardest, DEVICES[-1], computing[r.name]))
    figure, axes = plt.subplots(1, len(LINKS), figsize=(11, 3.9), dpi=110, sharey=True)
    for axis, (title, links) in zip(axes, LINKS.items(), strict=True):
        for k, r in enumerate(recipes):
            shares = [100 * r.efficiency(links, n, computing[r.name]) for n in DEVICES]
            axis.plot(
                DEVICES, shares, marker="o", ms=3.5, lw=1.7, color=colours(0.93 * k / (len(recipes) - 1)), label=r.name
            )
        axis.axvline(PER_MACHINE, color="#BBBBBB", lw=0.8, ls=":", zorder=0)
        axis.text(PER_MACHINE * 1.07, 103, "further machines", fontsize=7.5, color="#777777", va="center")
        axis.set_xscale("log", base=2)
        axis.set_xticks(DEVICES, DEVICES)
        axis.set(ylim=(0, 107), xlabel="devices", title=title)
        axis.title.set(fontsize=10, color=ink)
        axis.grid(axis="y", color="#EEEEEE")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("% of a linear speed-up")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=8.5)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(FIGURE, pil_kwargs={"optimize": True})


def _measured(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    if name not in RECIPES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(RECIPES)}")
    return name, float(value) / 1e3


def main() -> None:
    """Prints the tables and draws the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=100.0, help="that a device sustains (default 100)")
    parser.add_argument("--launch-ms", type=float, default=1.0, help="shortest optimizer step (default 1)")
    parser.add_argument("--ms", type=_measured, action="append", default=[], help="measured update, as RECIPE=12.5")
    parser.add_argument("--json", type=Path, help="file that gets the numbers as well")
    arguments = parser.parse_args()
    recipes = [recipe(name, *settings) for name, settings in RECIPES.items()]
    computing = {
        r.name: max(r.flops / (arguments.tflops * 1e12), r.steps * arguments.launch_ms / 1e3) for r in recipes
    } | dict(arguments.ms)

    head = ("recipe", "G", "D", "steps of D", "MB per update", "MB with DDP", "GFLOP per update", "ms assumed")
    lines = []
    for r in recipes:
        millions = (f"{r.generator / 1e6:.2f} M", f"{r.discriminator / 1e6:.2f} M", str(r.n_critic))
        ddp = 4 * r.steps * (r.generator + r.discriminator)  # both networks at each backward
        cells = (
            r.name,
            *millions,
            f"{r.sent / 1e6:.1f}",
            f"{ddp / 1e6:.1f}",
            f"{r.flops / 1e9:,.0f}",
            f"{1e3 * computing[r.name]:.1f}",
        )
        lines.append(cells)
    print(as_table(head, lines))
    columns = [(links, n) for links in LINKS.values() for n in (8, 64)]
    head_of_links = ("recipe", *(title for name in LINKS for title in (f"{name}: 8", "64")))
    ups = {r.name: [n * r.efficiency(links, n, computing[r.name]) for links, n in columns] for r in recipes}
    print("\n" + as_table(head_of_links, [(name, *(f"{up:.1f}" for up in row)) for name, row in ups.items()]))
    draw(recipes, computing)
    if arguments.json:
        plan = [{**asdict(r), "seconds": computing[r.name]} for r in recipes]
        arguments.json.write_text(json.dumps(plan, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
