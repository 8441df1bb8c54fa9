from __future__ import annotations

import pytest
import torch

from adversaria.core.errors import UserError
from adversaria.core.types import DataSpec
from adversaria.modalities import Image
from adversaria.nn.layers import append_labels, label_embedding

LABELLED = DataSpec((3, 8, 8), 5, Image())
UNLABELLED = DataSpec((3, 8, 8), None, Image())


@pytest.mark.parametrize("shape", [(2, 7), (2, 3, 4, 6)])
def test_embedded_labels_are_further_channels(shape):
    embedding = label_embedding(LABELLED, 5)
    x, labels = torch.randn(shape), torch.tensor([4, 1])
    out = append_labels(x, labels, embedding)
    assert out.shape == (2, shape[1] + 5, *shape[2:])
    assert torch.equal(out[:, : shape[1]], x)
    constant = out[:, shape[1] :].flatten(2) if len(shape) == 4 else out[:, shape[1] :, None]
    assert (constant == embedding(labels)[:, :, None]).all()


def test_without_an_embedding_nothing_is_appended():
    x = torch.randn(2, 7)
    assert append_labels(x, None, None) is x


def test_the_dtype_of_the_images_stays():
    x = torch.randn(2, 3, 4, 6).bfloat16().to(memory_format=torch.channels_last)
    out = append_labels(x, torch.tensor([0, 1]), label_embedding(LABELLED, 5))
    assert out.dtype == torch.bfloat16
    assert torch.equal(out[:, :3], x)


def test_labels_must_come_where_they_are_wanted_and_only_there():
    with pytest.raises(ValueError, match="given no labels"):
        append_labels(torch.zeros(2, 7), None, label_embedding(LABELLED, 5))
    with pytest.raises(ValueError, match="was given labels"):
        append_labels(torch.zeros(2, 7), torch.tensor([0, 1]), None)


def test_unlabelled_data_is_refused():
    with pytest.raises(UserError, match="needs labels"):
        label_embedding(UNLABELLED, 5)
