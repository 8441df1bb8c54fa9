from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adversaria.data.named import Digits


@pytest.fixture(scope="session")
def device() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="session")
def make_digits(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Digits]:
    """``make_digits(name=..., limit=...)``: the real digits at 16x16."""
    cache: Path = tmp_path_factory.mktemp("data")

    def make(**changes: Any) -> Digits:
        fields: dict[str, Any] = {
            "name": "digits",
            "root": None,
            "size": 16,
            "channels": 1,
            "fit": "resize",
            "mirror": False,
            "batch_size": 16,
            "storage": "auto",
            "num_workers": 0,
            "cache_dir": str(cache),
            "limit": None,
            "seed": 0,
            "download": False,
        }
        data = Digits(**{**fields, **changes})
        data.prepare()
        return data

    return make


@pytest.fixture(scope="session")
def digits(make_digits: Callable[..., Digits]) -> Digits:
    return make_digits()
