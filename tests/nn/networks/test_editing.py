"""Networks that edit pictures and judge edits: published sizes, what they leave alone, what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.modalities.masked import MaskedImage
from adversaria.nn.networks.editing_unet import EditingUNet, fill_unknown
from adversaria.nn.networks.patchgan import PatchDiscriminator
from adversaria.nn.networks.unet import UNet


def spec_of(side: int, channels: int = 3, given: int = 3, *, masked: bool = False) -> DataSpec:
    modality = MaskedImage() if masked else Image()
    return DataSpec((channels, side, side), None, Image(), None, DataSpec((given, side, side), None, modality))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("side", "count"), [(256, 54_413_955), (128, 41_828_995)])
def test_the_u_net_has_the_published_size(side: int, count: int) -> None:
    with torch.device("meta"):
        assert parameters(UNet(spec=spec_of(side), norm="batch")) == count


def test_the_judge_of_patches_has_the_published_size_and_sees_70_pixels() -> None:
    d = PatchDiscriminator(spec=spec_of(128), norm="batch", width=64, depth=3)
    assert parameters(d) == 2_768_705
    x = torch.randn(1, 3, 128, 128, requires_grad=True)
    logits = d.eval()(x, torch.randn(1, 3, 128, 128)).logits
    assert logits.shape == (1, 1, 14, 14)
    [slope] = torch.autograd.grad(logits[0, 0, 7, 7], x)
    seen = slope.abs().sum((0, 1)) > 0
    assert (seen.any(0).sum(), seen.any(1).sum()) == (70, 70)


def test_dropout_is_in_the_widest_doublings_and_of_training_alone() -> None:
    with torch.device("meta"):
        g = UNet(spec=spec_of(256), dropout=0.5)
    assert sum(isinstance(module, nn.Dropout) for module in g.modules()) == 3
    g = UNet(spec=spec_of(32), width=4, dropout=0.5)
    y = torch.randn(2, 3, 32, 32)
    assert torch.equal(g.eval()(y[:, :0], y), g(y[:, :0], y))
    assert not torch.equal(g.train()(y[:, :0], y), g(y[:, :0], y))


@pytest.mark.parametrize("given", [1, 3, 5])
def test_the_small_one_begins_as_doing_nothing(given: int) -> None:
    g = EditingUNet(spec=spec_of(32, given=given), width=4)
    y = torch.randn(2, given, 32, 32)
    expected = y.expand(-1, 3, -1, -1) if given == 1 else y[:, :3]
    torch.testing.assert_close(g(y[:, :0], y), expected)


def test_an_edit_does_not_depend_on_its_neighbours() -> None:
    g = EditingUNet(spec=spec_of(32), width=4)
    nn.init.normal_(g.head.weight)
    y = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(g(y[:, :0], y)[:1], g(y[:1, :0], y[:1]))


def test_what_is_known_stays_exactly_as_it_is() -> None:
    g = EditingUNet(spec=spec_of(32, given=4, masked=True), width=4)
    nn.init.normal_(g.head.weight)
    known = torch.rand(2, 1, 32, 32) > 0.3
    y = torch.cat([torch.randn(2, 3, 32, 32), 2.0 * known - 1], dim=1)
    made = g(y[:, :0], y)
    assert torch.equal(made[known.expand(-1, 3, -1, -1)], y[:, :3][known.expand(-1, 3, -1, -1)])
    other = torch.cat([y[:, :3] + 9 * ~known, y[:, 3:]], dim=1)  # what stands in a hole does not matter
    torch.testing.assert_close(g(y[:, :0], other), made)


def test_a_hole_is_filled_by_what_surrounds_it() -> None:
    x = torch.full((1, 2, 20, 28), 3.0)
    known = torch.ones(1, 1, 20, 28, dtype=torch.bool)
    known[..., 5:12, 7:20] = False
    torch.testing.assert_close(fill_unknown(x * known, known), x)
    ramp = torch.linspace(-1, 1, 28).expand(1, 1, 20, 28)
    filled = fill_unknown(ramp * known, known)
    assert torch.equal(filled[known], ramp[known])
    assert filled.min() >= -1
    assert filled.max() <= 1
    assert (filled - ramp).abs().max() < 0.6
    assert not fill_unknown(x, torch.zeros_like(known)).any()


def test_what_cannot_be_edited_is_refused() -> None:
    nothing = DataSpec((3, 32, 32), None, Image())
    other = DataSpec((3, 32, 32), None, Image(), None, DataSpec((3, 16, 16), None, Image()))
    for make in (UNet, EditingUNet, PatchDiscriminator):
        with pytest.raises(UserError, match="pairing=denoise"):
            make(spec=nothing)
        with pytest.raises(UserError, match="of the size of the answers"):
            make(spec=other)
    with pytest.raises(UserError, match=r"data\.size"):
        UNet(spec=spec_of(24))
    with pytest.raises(UserError, match="smaller depth"):
        EditingUNet(spec=spec_of(20), depth=3)
    with pytest.raises(UserError, match="smaller depth"):
        PatchDiscriminator(spec=spec_of(16), depth=3)
