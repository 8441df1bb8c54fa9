from __future__ import annotations

import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adversaria.features.extraction import full_float32, gather_rows, untouched_rng

# Run in this process, and by each of two others.
SCRIPT = """
import torch, torch.distributed as dist
from adversaria.features.classifier import ClassifierNetwork
from adversaria.core.ranks import from_rank_zero
from adversaria.features.extraction import embed, gather_rows

device = torch.device("cpu")
with torch.random.fork_rng():
    torch.manual_seed(0)
    network = ClassifierNetwork(1, 10, 16).eval()
    images = torch.randint(256, (448, 1, 16, 16)).byte()

def gathered():
    return gather_rows(lambda a, b: torch.cat(embed(network, images[a:b], device), 1), 437, 128, device, "test")
"""
WORKER = """
torch.set_num_threads(1)
rank, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.save((gathered(), from_rank_zero([float(rank), 0.1])), f"{out}/{rank}.pt")
"""


def test_two_processes_give_the_very_rows_of_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-c", f"import sys{SCRIPT}{WORKER}"]
    jobs = [subprocess.Popen([*command, str(rank), port, str(tmp_path)]) for rank in range(2)]
    here: dict[str, Any] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as over there: the number of threads decides the order of sums
    try:
        exec(SCRIPT, here)
        alone = here["gathered"]()
    finally:
        torch.set_num_threads(threads)
    assert [job.wait(timeout=120) for job in jobs] == [0, 0]
    (first, from_first), (second, from_second) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert alone.shape == (437, 202)
    assert torch.equal(alone, first)
    assert torch.equal(alone, second)
    assert from_first == from_second == [0.0, 0.1]


@pytest.mark.parametrize(("count", "batch_size"), [(1, 64), (64, 64), (200, 128), (1000, 256)])
def test_rows_come_in_order_from_aligned_ranges(count: int, batch_size: int, device: torch.device) -> None:
    asked: list[tuple[int, int]] = []

    def rows(start: int, stop: int) -> Tensor:
        asked.append((start, stop))
        return torch.arange(start, stop)[:, None].float()

    gathered = gather_rows(rows, count, batch_size, device, "test")
    assert gathered.flatten().tolist() == list(range(count))
    assert all(start % 64 == 0 and stop % 64 == 0 and stop - start <= batch_size for start, stop in asked)


def test_random_states_are_put_back(device: torch.device) -> None:
    def state() -> tuple[object, ...]:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    def draw_and_fail() -> None:
        with untouched_rng(device):
            random.random(), np.random.rand(), torch.rand(1)
            raise KeyError

    before = state()
    with pytest.raises(KeyError):
        draw_and_fail()
    assert state() == before


def test_float32_is_not_rounded_whatever_the_user_chose(device: torch.device) -> None:
    x = torch.full((64, 64), 1 / 3)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), full_float32(device):
            product = x @ x
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # type: ignore[attr-defined]
    finally:
        torch.set_float32_matmul_precision(before)
    assert product.dtype == torch.float32
    torch.testing.assert_close(product, torch.full_like(x, 64 / 9), rtol=1e-6, atol=0)
