from __future__ import annotations

import torch

from adversaria.core.types import DataSpec
from adversaria.modalities import Points
from adversaria.nn.networks.mlp import MLPGenerator
from adversaria.nn.networks.residual_mlp import ResidualMLPDiscriminator, ResidualMLPGenerator
from adversaria.nn.prior import Prior

RING = DataSpec((2,), None, Points())


def test_points_are_not_squashed():
    torch.manual_seed(0)
    for make in (MLPGenerator, ResidualMLPGenerator):
        g = make(spec=RING, width=16)
        assert g(1_000 * Prior.of(g).draw(8)).abs().max() > 2


def test_depth_counts_hidden_layers():
    g = MLPGenerator(spec=RING, width=16, depth=5)
    assert sum(isinstance(m, torch.nn.Linear) for m in g.modules()) == 6


def test_the_input_enters_every_block():
    # With the stem and all blocks but one silenced, the output still depends on the input.
    torch.manual_seed(0)
    g, d = ResidualMLPGenerator(spec=RING, width=16), ResidualMLPDiscriminator(spec=RING, width=16)
    for network, inputs in ((g, torch.randn(4, 64)), (d, torch.randn(4, 2))):
        for heard in range(3):
            with torch.no_grad():
                network.trunk.stem.weight.zero_()
                for i, block in enumerate(network.trunk.blocks):
                    block.inner.weight[:, 16:].normal_() if i == heard else block.inner.weight[:, 16:].zero_()
            features = network.trunk(inputs)
            assert (features - features[:1]).abs().amax(dim=1)[1:].min() > 0.01


def test_blocks_add_to_what_they_are_given():
    torch.manual_seed(0)
    g = ResidualMLPGenerator(spec=RING, width=16)
    with torch.no_grad():
        for block in g.trunk.blocks:
            block.outer.weight.zero_()
            block.outer.bias.zero_()
    z = Prior.of(g).draw(4)
    torch.testing.assert_close(g.trunk(z), g.trunk.activation(g.trunk.stem(z)))
