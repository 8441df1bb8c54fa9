"""What stands for a system while a checkpoint is loaded, and that it takes no Lightning."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import adversaria
import adversaria.systems
from adversaria.config.admission import PLACES
from adversaria.config.schema import signature
from adversaria.core.errors import UserError
from adversaria.runs.folder import Run
from adversaria.sampling.restore import check_objective
from adversaria.systems.base import SteppedModule
from adversaria.systems.parts import Parts, parts_name

STORED = Path(__file__).resolve().parent.parent / "stored"

#: loads a checkpoint after the other, and says what it has imported by then
LOADS = """
import sys, adversaria, adversaria.sampling, adversaria.systems, adversaria.systems.parts
adversaria.systems.__path__.append("systems")
adversaria.systems.parts.__path__.append("systems/parts")
for checkpoint in sys.argv[1:]:
    sampler = adversaria.load(checkpoint, device="cpu", trust=["theirs"])
    assert sampler.sample(4).shape == (4, *sampler.spec.shape)
    print(*[name for name in ("lightning", "lightning.pytorch", "torch._dynamo", "theirs") if name in sys.modules])
"""
#: a system in a file of its own, which no other file knows
SYSTEM = "from adversaria.systems.gan import GAN\n\n\nclass {name}(GAN):\n    pass\n"
PARTS = "from adversaria.systems.parts.gan import GANParts\n\n\nclass {name}Parts(GANParts):\n    pass\n"


def systems() -> Iterator[Any]:
    """Those of the package."""
    for found in pkgutil.iter_modules(adversaria.systems.__path__, "adversaria.systems."):
        module = importlib.import_module(found.name)
        yield from (
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, SteppedModule)
            and value.__module__ == found.name
            and not inspect.isabstract(value)
        )


def parts_of(name: str) -> Any:
    stands_for = parts_name(name)
    assert stands_for is not None
    return pkgutil.resolve_name(stands_for)


@pytest.mark.parametrize("system", list(systems()), ids=lambda system: system.__name__)
def test_parts_have_the_fields_of_their_system(system: Any) -> None:
    """All but what the run itself gives."""
    parts = parts_of(f"{system.__module__}.{system.__name__}")
    assert issubclass(parts, Parts)
    parameters, hints = signature(system)
    own = {key: (hints[key], parameters[key].default) for key in parameters if key not in PLACES["model"].injected}
    stored, stored_hints = signature(parts)
    assert {key: (stored_hints[key], stored[key].default) for key in stored} == own
    assert parts.sampler_name == system.sampler_name


def renamed(file: Path, system: str) -> Path:
    """The stored DCGAN's checkpoint as one of a system with this name."""
    content = torch.load(STORED / "dcgan" / "checkpoints" / "last.ckpt", weights_only=True)
    content["config"]["model"]["_target_"] = system
    torch.save(content, file)
    return file


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...], make_config: Any) -> Path:
    """The folder of a run."""
    from adversaria.training.experiment import build_experiment, train

    about_d = ("model.discriminator", "callbacks.")
    small = [line for line in tiny if not line.startswith(about_d)]
    config = make_config("model=vae", "data=digits", "trainer.max_steps=1", "~callbacks.health", *small)
    run = Run(tmp_path_factory.mktemp("runs") / "vae")
    with run.started(config, []):
        run.write_result(train(build_experiment(config), run))
    return run.path


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, vae: Path) -> dict[str, list[str]]:
    """By the system, what of Lightning, a compiler and a user's own one process had imported after sampling from it."""
    folder = tmp_path_factory.mktemp("systems")
    (folder / "systems" / "parts").mkdir(parents=True)
    (folder / "systems" / "fresh.py").write_text(SYSTEM.format(name="Fresh"))
    (folder / "systems" / "parts" / "fresh.py").write_text(PARTS.format(name="Fresh"))
    (folder / "theirs.py").write_text(SYSTEM.format(name="Theirs"))
    checkpoints = {
        "gan": STORED / "dcgan",
        "vae": vae,
        "fresh": renamed(folder / "fresh.ckpt", "adversaria.systems.fresh.Fresh"),
        "theirs": renamed(folder / "theirs.ckpt", "theirs.Theirs"),
    }
    arguments = [sys.executable, "-c", LOADS, *map(str, checkpoints.values())]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return {name: line.split() for name, line in zip(checkpoints, done.stdout.splitlines(), strict=True)}


@pytest.mark.parametrize("system", ["gan", "vae"])
def test_sampling_from_a_checkpoint_imports_no_lightning_and_no_compiler(
    system: str, imported: dict[str, list[str]]
) -> None:
    assert imported[system] == []


def test_a_new_system_of_the_package_needs_its_own_files_alone(imported: dict[str, list[str]]) -> None:
    assert imported["fresh"] == []


def test_a_system_from_outside_stands_for_itself(imported: dict[str, list[str]], tmp_path: Path) -> None:
    assert {"lightning", "theirs"} <= set(imported["theirs"])
    with pytest.raises(UserError, match=r"theirs\.Theirs is not a system .* add trust=\[theirs\]"):
        adversaria.load(renamed(tmp_path / "theirs.ckpt", "theirs.Theirs"))


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "adversaria.systems.os.System",
        "adversaria.systems.base.SteppedModule",
        "adversaria.systems.parts.Parts",
        "adversaria.systems.parts.gan.GANParts",
        "adversaria.systems.gan.DiscriminatorOutput",
        "adversaria.systems.gan.GAN.load_from_checkpoint",
        "adversaria.systems.gan.GAN:x",
        "adversaria.systems.gan..cli.GAN",
        "adversaria.systems.__init__.GAN",
        "adversaria.systems.hostile.Hostile",
        " adversaria.systems.gan.GAN",
        "adversaria.systems.gan.GAN\n",
        ["adversaria.systems.gan.GAN"],
        None,
    ],
)
def test_a_hostile_name_imports_nothing(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = torch.load(STORED / "dcgan" / "checkpoints" / "last.ckpt", weights_only=True)["config"]
    before = set(sys.modules)
    with pytest.raises(UserError):
        check_objective({**config, "model": {**config["model"], "_target_": name}}, ())
    assert {module for module in set(sys.modules) - before if not module.startswith("adversaria.")} == set()
