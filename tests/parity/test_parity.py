"""Our networks compute what the public reference implementations compute: outputs, gradients, double backward."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from parity.record import Record
from torch import Tensor, nn

from adversaria.core.types import Step
from adversaria.objectives.terms.gradient import input_gradient

FOLDER = Path(os.environ.get("ADVERSARIA_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))
FILES = sorted(FOLDER.glob("*.safetensors"))
TOLERANCE = 1e-4
#: how often the networks are moved by rounding where a record was computed on the other side of a ReLU's bend
TRIES = 16
#: the module beside this one for the beginning of a record's source
REFERENCES = {
    "kwotsin/mimicry": "mimicry",
    "ajbrock/BigGAN-PyTorch": "biggan",
    "NVlabs/stylegan2-ada-pytorch": "stylegan2",
    "brownvc/R3GAN": "r3gan",
}


def reference_of(record: Record) -> ModuleType:
    source = record.config["source"]
    [name] = [module for prefix, module in REFERENCES.items() if source.startswith(prefix)]
    return importlib.import_module(f"parity.{name}")


def load(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    trained = {name for name, _ in network.named_parameters()}
    assert not trained & set(missing), "parameters that the record does not set"
    return network.eval()


def rounded_otherwise(network: nn.Module, seed: int) -> nn.Module:
    """``network`` with weights changed by about one rounding of float32."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1 + 1e-7 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return network


def differences(record: Record, dtype: torch.dtype, seed: int | None = None) -> dict[str, float]:
    """The relative difference of each recorded quantity from what our networks compute in ``dtype``.

    Args:
        seed: of a change of the weights by rounding; ``None`` takes them as they are.
    """
    reference = reference_of(record)
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in record.tensors.items()}
    g, d = reference.networks(record)
    g = load(g, reference.generator_state(record.state("g"), g)).to(dtype)
    d = load(d, reference.discriminator_state(record.state("d"), d)).to(dtype)
    if seed is not None:
        g, d = rounded_otherwise(g, seed), rounded_otherwise(d, seed)
    labels = tensors.get("labels")

    z = tensors["z"].clone().requires_grad_(True)
    images = g(z, labels)
    (z_grad,) = torch.autograd.grad((images * tensors["images_cotangent"]).sum(), z)
    x = tensors["x"]
    step = Step(g, d, nn.Identity(), x, x, labels, labels, z, None, None, None)
    x_grad = input_gradient(step, x, labels)
    r1 = x_grad.square().sum(1)
    r1.mean().backward()
    parameters = dict(d.named_parameters())
    grads = [parameters[reference.discriminator_parameter(name, d)].grad for name in record.r1_param_names]
    ours = {
        "images": images,
        "z_grad": z_grad,
        "logits": d(x, labels).logits,
        "x_grad": x_grad,
        "r1_per_sample": r1,
        "r1_param_grad_norms": torch.stack([torch.zeros((), dtype=dtype) if p is None else p.norm() for p in grads]),
    }
    return {
        name: float((value.detach().reshape(tensors[name].shape) - tensors[name]).norm() / tensors[name].norm())
        for name, value in ours.items()
    }


@pytest.mark.skipif(not FILES, reason=f"needs the records in {FOLDER} (set ADVERSARIA_GOLDEN)")
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_equals_the_reference(file: Path) -> None:
    """In float32 or, where rounding puts an activation on the other side of a ReLU's bend, with another rounding.

    A gradient jumps at the bend, and on which side the reference fell depends on the machine it ran on.
    """
    record = Record.read(file)
    found = differences(record, torch.float32)
    for seed in (None, *range(TRIES)):
        if max(found.values()) < TOLERANCE:
            return
        exact = differences(record, torch.float64, seed)
        found = {name: min(found[name], exact[name]) for name in found}
    assert {name: value for name, value in found.items() if not value < TOLERANCE} == {}
