"""The file of latents, and what a sampler makes of it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import adversaria
from adversaria.core.errors import UserError
from adversaria.sampling.latents import Latents, Space, read_latents

STORED = Path(__file__).parents[1] / "stored"


@pytest.mark.parametrize("labels", [None, torch.tensor([3, 1])])
def test_what_is_written_is_read(tmp_path: Path, labels: torch.Tensor | None) -> None:
    latents = Latents(torch.randn(2, 5), "w", labels)
    latents.save(tmp_path / "l.npz")
    read = read_latents(tmp_path / "l.npz")
    assert torch.equal(read.values, latents.values)
    assert read.space == "w"
    assert read.labels is None if labels is None else torch.equal(read.labels, labels)
    assert [file.name for file in tmp_path.iterdir()] == ["l.npz"]


def test_a_file_of_ones_own_holds_z(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", latents=np.ones((3, 4)))
    assert read_latents(tmp_path / "mine.npz").space == "z"


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.ones((2, 3))}, "holds no array latents"),
        ({"latents": np.ones(3)}, r"of shape \[3\]"),
        ({"latents": np.ones((2, 3), np.int64)}, "type int64"),
        ({"latents": np.full((2, 3), np.nan)}, "NaN or infinite"),
        ({"latents": np.full((2, 3), 1e300)}, "NaN or infinite"),
        ({"latents": np.ones((0, 3))}, r"of shape \[0, 3\]"),
        ({"latents": np.ones((2, 3)), "space": np.array("\x1b[2Jx")}, "of the space .*it is z or w"),
        ({"latents": np.ones((2, 3)), "labels": np.ones(2)}, "holds labels"),
        ({"latents": np.ones((2, 3)), "labels": np.ones(3, np.int64)}, "holds labels"),
        ({"latents": np.array([{"a": 1}], dtype=object)}, "damaged"),
    ],
)
def test_what_is_no_file_of_latents_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(UserError, match=message) as error:
        read_latents(tmp_path / "odd.npz")
    assert "\x1b" not in str(error.value)


def test_a_file_that_states_more_than_it_holds_takes_no_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        archive.writestr("latents.npy", header((2**40, 2**10)))
    with pytest.raises(UserError, match="damaged"):
        read_latents(tmp_path / "large.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(UserError, match=r"damaged or no \.npz file"):
        read_latents(tmp_path / "text.npz")
    with pytest.raises(UserError, match="does not exist"):
        read_latents(tmp_path / "none.npz")


def test_given_latents_are_used_in_turn_with_their_labels() -> None:
    sampler = adversaria.load(STORED / "cgan")
    latents = Latents(torch.randn(3, sampler.prior.latent_dim), "z", torch.tensor([4, 4, 7]))
    samples = sampler.sample(5, given=latents, batch_size=2)
    expected = sampler.network(latents.values, latents.labels)
    torch.testing.assert_close(samples, expected[[0, 1, 2, 0, 1]], atol=1e-5, rtol=0)
    others = sampler.sample(3, given=latents, labels=[1, 2])
    torch.testing.assert_close(others, sampler.network(latents.values, torch.tensor([1, 2, 1])), atol=1e-5, rtol=0)


def test_a_path_leads_from_one_given_latent_to_the_next() -> None:
    sampler = adversaria.load(STORED / "cgan")
    latents = Latents(torch.randn(4, sampler.prior.latent_dim), "z", torch.tensor([4, 2, 7, 1]))
    paths = sampler.interpolate(2, 5, given=latents).unflatten(0, (2, 5))
    ends = sampler.network(latents.values, torch.tensor([4, 4, 7, 7]))
    torch.testing.assert_close(paths[:, 0], ends[0::2], atol=1e-5, rtol=0)
    torch.testing.assert_close(paths[:, -1], ends[1::2], atol=1e-4, rtol=0)


def test_latents_of_another_model_are_refused() -> None:
    sampler = adversaria.load(STORED / "cgan")
    dim = sampler.prior.latent_dim
    for latents, message in (
        (Latents(torch.zeros(1, dim + 1), "z", torch.tensor([0])), f"have {dim + 1} numbers each"),
        (Latents(torch.zeros(1, dim), "z"), "need labels"),
        (Latents(torch.zeros(1, dim), "z", torch.tensor([10])), "classes 0 to 9"),
        (Latents(torch.zeros(1, dim), "z", torch.tensor([-1])), "classes 0 to 9"),
        (Latents(torch.zeros(1, dim), "w", torch.tensor([0])), "space=w is for style-based"),
    ):
        with pytest.raises(UserError, match=message):
            sampler.sample(1, given=latents)
    plain = adversaria.load(STORED / "dcgan")
    labelled = Latents(torch.zeros(1, plain.prior.latent_dim), "z", torch.tensor([0]))
    with pytest.raises(UserError, match="have labels, and it takes none"):
        plain.sample(1, given=labelled)


def test_statistics_are_those_of_the_prior() -> None:
    mean, deviation = Space(adversaria.load(STORED / "dcgan")).statistics()
    assert float(mean.abs().max()) < 0.15
    assert float((deviation - 1).abs().max()) < 0.15
