"""Reconstructions on the command line: a run, its checkpoint alone and a comparison say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import adversaria
from adversaria.cli import compare, evaluate, train
from adversaria.core.errors import UserError
from adversaria.data.images.named import Digits
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]


def test_a_run_its_checkpoint_and_a_comparison_say_the_same(command: Command, tiny: tuple[str, ...]) -> None:
    """The checkpoint alone encodes and decodes with the averages, as the run's own evaluation did."""
    scored = [each for each in tiny if each != "metrics=none"]
    common = ("data=digits", "trainer.max_steps=6", *scored, "metrics.count=64")
    for name, model in (("both", "vae_gan"), ("gan", "dcgan")):
        more = ("model.encoder.width=8",) if model == "vae_gan" else ()
        assert command(train, f"model={model}", *common, *more, f"run_dir={name}")[0] == 0
    result = Run("both").read_result() or {}
    assert set(result["fingerprints"]) == {"classifier", "reconstruction"}
    own = {name: value for name, value in result["metrics"].items() if name.startswith("reconstruction")}
    assert set(own) == {"reconstruction_error", "reconstruction_class_kept"}

    code, printed, err = command(evaluate, "checkpoint=both")
    assert code == 0, err
    records = json.loads(Path("both/evaluation.json").read_text())["records"]
    last = next(r for r in records if r["subject"] == "last" and "reconstruction_error" in r["metrics"])
    assert last["metrics"] == pytest.approx(own, rel=1e-6)
    assert last["fingerprint_id"] == result["fingerprints"]["reconstruction"]["fingerprint_id"]
    raw = command(evaluate, "checkpoint=both", "raw=true", "metrics=reconstruction")
    assert raw[0] == 0
    assert f"{own['reconstruction_error']:.6g}" not in raw[1]

    sampler = adversaria.load("both", device="cpu")
    data = Digits(**_fields(Run("both").stored_config() or {}))
    data.prepare()
    x = data.spec.modality.decode(data.batch("test", np.arange(364)).samples)
    again = sampler.spec.modality.decode(sampler.spec.modality.encode(sampler.reconstruct(x)))
    assert float((again - x).square().mean()) == pytest.approx(own["reconstruction_error"], rel=1e-5)
    latents = sampler.encode(x[:5])
    assert latents.shape == (5, sampler.prior.latent_dim)
    torch.testing.assert_close(sampler.sample(5, given=latents), sampler.reconstruct(x[:5]))

    code, printed, _ = command(evaluate, "checkpoint=gan", "metrics=reconstruction")
    assert code == 0
    assert "no score   reconstruction_error of last: what is scored has no encoder" in printed
    with pytest.raises(UserError, match="no encoder"):
        adversaria.load("gan", device="cpu").encode(x[:5])
    with pytest.raises(UserError, match="shape"):
        sampler.encode(x[:5, :, :8])
    code, printed, _ = command(compare, "both", "gan", "out=report")
    assert code == 0
    report = Path("report/report.md").read_text()
    assert "reconstruction_error" in report
    assert "classifier_fid64" in report


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config["data"].items() if name != "_target_"}
