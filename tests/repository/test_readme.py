"""The documents tell the truth about ``conf/`` and about files."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from conftest import config_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_choices_is_that_of_conf() -> None:
    spec = importlib.util.spec_from_file_location("choices", ROOT / "docs" / "choices.py")
    assert spec is not None
    assert spec.loader is not None
    choices = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(choices)
    assert (ROOT / "docs" / "choices.md").read_text() == choices.page(), "run: python docs/choices.py"


def test_links_and_pictures_exist() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} points to {target}"


def commands() -> list[str]:
    """Each ``python train.py ...`` of the README, in one line and without its comment."""
    readme = (ROOT / "README.md").read_text().replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", readme, re.DOTALL))
    return [
        line.split("#")[0].replace("~", "").strip()
        for line in blocks.splitlines()
        if line.startswith("python train.py")
    ]


@pytest.mark.parametrize("command", commands())
def test_commands_compose_and_name_fields_that_exist(command: str) -> None:
    from adversaria.config.build import check
    from adversaria.training.experiment import trainer_node

    typed = [argument for argument in shlex.split(command)[2:] if argument != "-m"]
    # composed without a command line, where --config-dir is another place to search
    searched = rf"hydra.searchpath=['file://{ROOT}/\1']"
    arguments = [re.sub(r"^--config-dir=(.*)", searched, argument) for argument in typed]
    swept = [argument for argument in arguments if "," in argument and "[" not in argument]
    single = [argument.split(",")[0] if argument in swept else argument for argument in arguments]
    config = config_of(*single)
    for group, node in {**config, "trainer": trainer_node(config)}.items():
        check(node, group, config["trust"])


def test_the_line_of_the_training_step_is_right() -> None:
    [(said, line)] = re.findall(
        r"line (\d+)\]\(src/adversaria/systems/gan\.py#L(\d+)\)", (ROOT / "README.md").read_text()
    )
    assert said == line
    assert "def training_step" in (ROOT / "src/adversaria/systems/gan.py").read_text().splitlines()[int(line) - 1]


def test_the_files_of_the_architecture_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = re.findall(r"`([a-z_]+/[a-z_/.]*)`", text)
    folders = (ROOT / "src" / "adversaria", ROOT, ROOT / "conf")
    assert [name for name in named if not any((folder / name).exists() for folder in folders)] == []
