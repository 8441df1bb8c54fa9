"""Two processes on the CPU train one model in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exchanging import TINY

import adversaria
from adversaria.data.images.named import Digits
from adversaria.runs.folder import Run

ROOT = Path(__file__).resolve().parents[2]

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

#: a callback of the user's that writes down what each rank saw and ended with
WATCH = """
import os
import torch
from lightning.pytorch.callbacks import Callback

class Watch(Callback):
    def __init__(self, *, folder: str) -> None:
        self.folder, self.seen = folder, []

    def on_train_start(self, trainer, pl_module):
        original = pl_module._draw
        def draw(count, labels):
            drawn = original(count, labels)
            self.seen.append(drawn[0].clone())
            return drawn
        pl_module._draw = draw
        self.reals = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.reals.append(batch.samples.clone())

    def on_train_end(self, trainer, pl_module):
        torch.save({"state": pl_module.state_dict(), "latents": self.seen, "reals": self.reals},
                   os.path.join(self.folder, f"rank{trainer.global_rank}.pt"))
"""


def environment(folder: Path) -> dict[str, str]:
    """In which our sources, the tests' modules and those in ``folder`` are found."""
    path = os.pathsep.join(map(str, (folder, ROOT / "src", ROOT / "tests", ROOT)))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def test_two_processes_share_a_run(tmp_path: Path) -> None:
    (tmp_path / "watching.py").write_text(WATCH)
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *TINY,
        "metrics=modes",
        "metrics.count=100",
        "callbacks.evaluation.every_n_steps=10",
        "callbacks.evaluation.max_share=null",
        "trainer=ddp_cpu",
        "trainer.max_steps=20",
        "trainer.log_every_n_steps=5",
        f"+callbacks.watch={{_target_: watching.Watch, folder: {tmp_path}}}",
        "trust=[watching]",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    [folder] = [path.parent for path in tmp_path.rglob("config.yaml")]
    run = Run(folder)
    assert [path.name for path in (folder / "checkpoints").iterdir() if path.name != "best.ckpt"] == ["last.ckpt"]
    result = run.read_result() or {}
    assert result["status"] == "finished"
    assert result["generator_updates"] == 20
    assert result["images_seen"] == 20 * 16 * 2
    assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + 4
    assert done.stdout.count("finished after") == 1

    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ranks[0]["state"].items():
        assert torch.equal(value, ranks[1]["state"][name]), name
    assert len(ranks[0]["latents"]) == len(ranks[1]["latents"]) == 40  # one draw for D and one for G a step
    assert not any(torch.equal(a, b) for a, b in zip(ranks[0]["latents"], ranks[1]["latents"], strict=True))
    # the ranks share out the stream of a single process: the first 31 steps of 32 reals are 992 of 1,000 points
    rows = torch.cat([torch.cat(rank["reals"]) for rank in ranks])
    assert len(torch.unique(rows, dim=0)) == len(rows) == 640


def test_state_of_terms_and_augmentation_is_that_of_all_ranks(tmp_path: Path) -> None:
    """ADA's probability, the means of path lengths and logits, and lazy steps keep the ranks' networks equal.

    torchrun starts the two.
    """
    (tmp_path / "watching.py").write_text(WATCH)
    command = [
        *TORCHRUN,
        str(ROOT / "train.py"),
        "model=stylegan2",
        "data=digits",
        "data.batch_size=8",
        "augment=ada",
        "augment.interval=2",
        "augment.images=100",
        "regulariser=[r1,path_length,lecam]",
        "regulariser.r1.interval=3",
        "regulariser.lecam.start=2",
        "model.generator.channel_max=8",
        "model.generator.style_dim=8",
        "model.discriminator.channel_max=8",
        "metrics=none",
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.max_steps=8",
        f"+callbacks.watch={{_target_: watching.Watch, folder: {tmp_path}}}",
        "trust=[watching]",
        f"run_dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)["state"] for rank in (0, 1)]
    for name, value in ranks[0].items():
        if not name.endswith("w_avg"):  # a mean of the rank's own styles; the first rank's is saved
            assert torch.equal(value, ranks[1][name]), name
    assert any(name.startswith("augment.") for name in ranks[0])
    result = Run(tmp_path / "run").read_result() or {}
    assert (result["status"], result["devices"], result["images_seen"]) == ("finished", 2, 8 * 8 * 2)


def test_exchange_is_that_of_ddp_in_one_message_for_each_optimizer_step(tmp_path: Path) -> None:
    """The networks of DistributedDataParallel, with accumulation and lazy steps; a signal to one process stops both."""
    command = [*TORCHRUN, str(ROOT / "tests" / "exchanging.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["equal"]
    assert found["close"]
    # 6 updates of 2 steps of D, each in 2 parts; at the steps 0, 3, 6 and 9 of D R1 takes one of its own, which
    # changes all but the last bias; the last message asks for a stop
    d, g = found["discriminator"], found["generator"]
    assert found["sizes"] == [d, d - 1, d, g, d, d, d - 1, g, d, d, g] * 2 + [1]
    assert found["stopped"] == ["stopped", "SIGUSR1", 10]


def test_two_processes_go_back_together(tmp_path: Path) -> None:
    """A spike on both ranks: one of them edits the checkpoint, both resume from it."""
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        *TINY,
        "metrics=none",
        "guard=rollback",
        "callbacks.guard.trial=4",
        "trainer=ddp_cpu",
        "trainer.max_steps=20",
        "trainer.log_every_n_steps=2",
        "callbacks.checkpoint.every_n_steps=4",
        "callbacks.health.every_n_steps=2",
        "callbacks.health.samples=8",
        "callbacks.health.detectors.exploding_gradients.oldest=2",
        "callbacks.health.detectors.exploding_gradients.factor=1000",
        "+callbacks.spike={_target_: breaking.Spike, step: 12, factor: '1e6'}",
        "trust=[breaking]",
        f"run_dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    result = Run(tmp_path / "run").read_result() or {}
    assert (result["status"], result["generator_updates"], result["devices"]) == ("finished", 20, 2)
    assert [(r["step"], r["to_step"]) for r in result["rollbacks"]] == [(14, 8)]


@pytest.mark.slow
def test_three_networks_of_two_processes_stay_equal(tmp_path: Path) -> None:
    """Encoder, decoder and D step by themselves, a term steps alone, and both ranks score reconstructions together."""
    (tmp_path / "watching.py").write_text(WATCH)
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "model=vae_gan",
        "data=digits",
        "data.batch_size=8",
        "model.generator.width=8",
        "model.encoder.width=8",
        "model.discriminator.width=8",
        "regulariser=r1",
        "regulariser.r1.interval=3",
        "metrics=reconstruction",
        "trainer=ddp_cpu",
        "trainer.max_steps=8",
        f"+callbacks.watch={{_target_: watching.Watch, folder: {tmp_path}}}",
        "trust=[watching]",
        f"run_dir={tmp_path / 'run'}",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in ranks[0]["state"].items():
        if "running" not in name:  # of the rank's own batches since the last update began
            assert torch.equal(value, ranks[1]["state"][name]), name
    assert not torch.equal(ranks[0]["latents"][0], ranks[1]["latents"][0])
    result = Run(tmp_path / "run").read_result() or {}
    assert (result["status"], result["devices"], result["images_seen"]) == ("finished", 2, 8 * 8 * 2)
    sampler = adversaria.load(tmp_path / "run", device="cpu")
    data = Digits(
        **{k: v for k, v in ((Run(tmp_path / "run").stored_config() or {})["data"]).items() if k != "_target_"}
    )
    data.prepare()
    x = data.spec.modality.decode(data.batch("test", np.arange(len(data.split("test")))).samples)
    again = data.spec.modality.decode(data.spec.modality.encode(sampler.reconstruct(x)))
    assert result["metrics"]["reconstruction_error"] == pytest.approx(float((again - x).square().mean()), rel=1e-4)
