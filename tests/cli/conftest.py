from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(module: ModuleType, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["x.py", *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        logging.getLogger("adversaria").handlers.clear()
        code = module.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
