from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from adversaria.core.errors import UserError
from adversaria.core.schedules import Progress
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.networks.r3gan import Block, Downsample, R3GANDiscriminator, R3GANGenerator, Upsample
from adversaria.nn.prior import Prior

NETWORKS = (R3GANGenerator, R3GANDiscriminator)


def image(size, channels=3, classes=10):
    return DataSpec((channels, size, size), classes, Image())


def count(network):
    return sum(p.numel() for p in network.parameters())


def blocks_of(width, group, number, expansion=2, kernel_size=3):
    """Weights and biases of some blocks: two 1x1 convolutions and a grouped one between them."""
    inner = expansion * width
    return number * (2 * width * inner + inner * group * kernel_size**2 + 2 * inner)


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (16, (768, 768, 768)),
        (32, (768, 768, 768, 768)),
        (64, (768, 768, 768, 768, 384)),  # the authors' FFHQ-64
        (256, (768, 768, 768, 768, 384, 192, 96)),  # FFHQ-256
    ],
)
def test_sizes_of_the_default_networks(size, widths):
    with torch.device("meta"):
        g, d = (make(spec=image(size)) for make in NETWORKS)
        out = d(g(Prior.of(g).draw(2)))
    shared = sum(blocks_of(width, 16, 2) for width in widths) + 3 * widths[-1] + 16 * 768
    shared += sum(a * b for a, b in pairwise(widths) if a != b)
    assert count(g) == shared + 64 * 768
    assert count(d) == shared + 768
    assert out.logits.shape == (2,)
    assert out.features.shape == (2, 768)


@pytest.mark.parametrize(("classes", "expected"), [(None, (20_732_160, 20_683_776)), (10, (20_781_952, 21_280_512))])
def test_sizes_that_the_authors_networks_have_on_cifar10(classes, expected):
    with torch.device("meta"):
        sizes = tuple(count(make(spec=image(32), conditional=classes is not None)) for make in NETWORKS)
    assert sizes == expected


def test_lists_give_each_side_its_own_sizes():
    lists = {"width": [24, 16, 16, 8], "group_size": [12, 16, 8, 4], "blocks": [1, 2, 1, 3], "expansion": 3}
    g, d = (make(spec=image(32), kernel_size=5, **lists) for make in NETWORKS)
    for network, order in ((g, 1), (d, -1)):
        found = [(m.expand.in_channels, m.grouped.weight.shape[1]) for m in network.layers if isinstance(m, Block)]
        assert found[::order] == [(24, 12), (16, 16), (16, 16), (16, 8), (8, 4), (8, 4), (8, 4)]
    blocks = blocks_of(24, 12, 1, 3, 5) + blocks_of(16, 16, 2, 3, 5) + blocks_of(16, 8, 1, 3, 5)
    blocks += blocks_of(8, 4, 3, 3, 5)
    assert count(g) == blocks + 24 * (64 + 16) + 24 * 16 + 16 * 8 + 8 * 3
    assert count(d) == blocks + 24 * (1 + 16) + 24 * 16 + 16 * 8 + 8 * 3


def interpolation_matrix(side):
    """[2 * side, side]: each new pixel is 3/4 of the nearer old one and 1/4 of the other, zero beyond the border."""
    matrix = torch.zeros(2 * side, side, dtype=torch.float64)
    for new in range(2 * side):
        near, other = new // 2, new // 2 + (1 if new % 2 else -1)
        matrix[new, near] = 0.75
        if 0 <= other < side:
            matrix[new, other] = 0.25
    return matrix


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_upsampling_interpolates_linearly_and_downsampling_is_its_adjoint(order):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64).contiguous(memory_format=order)
    matrix = interpolation_matrix(6)
    larger = Upsample()(x)
    torch.testing.assert_close(larger, matrix @ x @ matrix.T)
    assert larger.is_contiguous(memory_format=order)
    matrix = interpolation_matrix(3)
    torch.testing.assert_close(Downsample()(x), matrix.T @ x @ matrix / 4)


def test_upsampling_is_differentiable_twice():
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Upsample(), x)
    assert torch.autograd.gradgradcheck(Upsample(), x)


def test_initial_weights():
    torch.manual_seed(0)
    g, d = (make(spec=image(32), width=64, conditional=True) for make in NETWORKS)
    gain = math.sqrt(2 / 1.04) * 8**-0.25  # of LeakyReLU, eight blocks (Fixup)
    for network in (g, d):
        blocks = [m for m in network.layers if isinstance(m, Block)]
        assert len(blocks) == 8
        for block in blocks:
            assert block.expand.weight.std().item() == pytest.approx(gain / math.sqrt(64), rel=0.05)
            assert block.grouped.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.05)
            assert not block.expand.bias.any()
            assert not block.grouped.bias.any()
            x = torch.randn(1, 64, 8, 8)
            assert torch.equal(block(x), x)  # the identity at first
    assert g.basis.std().item() == pytest.approx(1, rel=0.1)
    assert d.basis.std().item() == pytest.approx(1 / 4, rel=0.1)
    assert g.project.weight.std().item() == pytest.approx(1 / math.sqrt(64 + 64), rel=0.1)
    assert d.head.weight.std().item() == pytest.approx(1 / math.sqrt(64), rel=0.1)
    assert g.embedding.weight.std().item() == pytest.approx(1 / math.sqrt(10), rel=0.1)
    assert d.embedding.weight.std().item() == pytest.approx(1 / math.sqrt(10 * 64), rel=0.1)


def test_a_block_is_what_its_weights_say():
    torch.manual_seed(0)
    d = R3GANDiscriminator(spec=image(16), width=8, group_size=4)
    block = next(m for m in d.layers if isinstance(m, Block))
    torch.nn.init.normal_(block.contract.weight)
    torch.nn.init.normal_(block.expand.bias)
    torch.nn.init.normal_(block.grouped.bias)
    x = torch.randn(2, 8, 5, 5)
    h = torch.einsum("oi,nihw->nohw", block.expand.weight[:, :, 0, 0], x) + block.expand.bias[:, None, None]
    h = torch.where(h > 0, h, 0.2 * h)
    patches = F.unfold(h, 3, padding=1).view(2, 4, 4 * 9, 25)  # 4 groups of 4 channels
    h = torch.einsum("goi,ngip->ngop", block.grouped.weight.view(4, 4, 36), patches).reshape(2, 16, 5, 5)
    h = h + block.grouped.bias[:, None, None]
    h = torch.where(h > 0, h, 0.2 * h)
    expected = x + torch.einsum("oi,nihw->nohw", block.contract.weight[:, :, 0, 0], h)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_a_label_multiplies_its_embedding_with_the_last_layer():
    torch.manual_seed(0)
    d = R3GANDiscriminator(spec=image(16), width=16, conditional=True, label_dim=7)
    labels = torch.tensor([3, 9])
    out = d(torch.randn(2, 3, 16, 16), labels)
    scores = out.features @ d.head.weight.T  # [N, 7]
    torch.testing.assert_close(out.logits, torch.stack([scores[i] @ d.embedding.weight[labels[i]] for i in range(2)]))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", [16, 16], "take one number"),
        ("width", [16, 0, 16, 16], r"width=0"),
        ("width", 0, r"width=0"),
        ("blocks", 0, r"blocks=0"),
        ("group_size", 12, "does not divide the 32"),
        ("kernel_size", 4, "even"),
        ("expansion", 0, r"expansion=0"),
        ("label_dim", 0, r"label_dim=0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, field, value, message):
    with pytest.raises(UserError, match=message):
        make(spec=image(32), conditional=True, **{"width": 16, field: value})


def test_narrow_networks_have_a_single_group():
    g = R3GANGenerator(spec=image(64), width=4)  # 2 channels at side 64
    assert [m.grouped.groups for m in g.layers if isinstance(m, Block)] == [1] * 10


def test_the_published_recipe(make_config):
    from hydra.utils import get_object

    from adversaria.config.build import construct

    config = make_config("experiment=r3gan_cifar10")
    ramps = {
        "gamma of R1": config["regulariser"]["r1"]["weight"],
        "gamma of R2": config["regulariser"]["r2"]["weight"],
        "beta2": config["optim"]["beta2"],
        "p": config["augment"]["p"],
        "half-life": config["callbacks"]["ema"]["half_life"],
    }
    values = {}
    for name, node in ramps.items():
        ramp = get_object(node.pop("_target_"))(**node)
        values[name] = [round(ramp(Progress(0, 1, n * 10**6, 10**9)), 5) for n in (0, 10, 20, 40)]
    assert values == {
        "gamma of R1": [0.05, 0.0275, 0.005, 0.005],
        "gamma of R2": [0.05, 0.0275, 0.005, 0.005],
        "beta2": [0.9, 0.945, 0.99, 0.99],
        "p": [0.0, 0.275, 0.55, 0.55],
        "half-life": [0.0, 2_500_000, 5_000_000, 5_000_000],
    }
    assert config["loss"]["d_loss"]["_target_"].endswith("relativistic_pairing_d")
    assert config["data"]["batch_size"] == 512
    schedule = construct(config["optim"]["schedule"], "optim.schedule", ())
    for network in ("generator", "discriminator"):
        optimizer = config["optim"][network]
        rates = [optimizer["lr"] * schedule(Progress(0, 1, n * 10**6, 10**9)) for n in (0, 10, 20)]
        assert rates == pytest.approx([2e-4, 1.25e-4, 5e-5])
        assert optimizer["betas"][0] == 0


@pytest.mark.parametrize("choice", ["model=r3gan", "experiment=r3gan_small"])
def test_the_ramps_of_other_runs_last_as_long_as_they_do(make_config, choice):
    config = make_config(choice)
    for ramp in (
        config["regulariser"]["r1"]["weight"],
        config["regulariser"]["r2"]["weight"],
        config["optim"]["beta2"],
    ):
        assert (ramp["images"], ramp["share"]) == (None, 1.0)
    assert config["optim"]["schedule"]["images"] is None
