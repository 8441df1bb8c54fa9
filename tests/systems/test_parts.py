"""What stands for a system while a checkpoint is loaded, and that it takes no Lightning."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adversaria.config.admission import PLACES
from adversaria.config.schema import signature
from adversaria.systems.parts import PARTS

STORED = Path(__file__).resolve().parent.parent / "stored"


@pytest.mark.parametrize("name", PARTS)
def test_parts_have_the_fields_of_their_system(name: str) -> None:
    """All but what the run itself gives."""
    system: Any = pkgutil.resolve_name(name)
    parameters, hints = signature(system)
    own = {key: (hints[key], parameters[key].default) for key in parameters if key not in PLACES["model"].injected}
    stored, stored_hints = signature(PARTS[name])
    assert {key: (stored_hints[key], stored[key].default) for key in stored} == own
    assert PARTS[name].sampler_name == system.sampler_name


def test_sampling_from_a_checkpoint_imports_no_lightning_and_no_compiler() -> None:
    code = (
        "import sys, adversaria, adversaria.sampling\n"
        f"assert adversaria.load({str(STORED / 'dcgan')!r}, device='cpu').sample(4).shape == (4, 1, 16, 16)\n"
        "print([name for name in ('lightning', 'lightning.pytorch', 'torch._dynamo') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
