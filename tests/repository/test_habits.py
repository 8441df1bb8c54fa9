"""Continuous integration and the hooks before a commit do what `make` does, on the versions that the package claims."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import yaml
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))


def commands(job: str) -> list[str]:
    return [step["run"] for step in CI["jobs"][job]["steps"] if "run" in step]


def hooks() -> list[dict[str, Any]]:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    return [hook for repo in repos for hook in repo["hooks"]]


def test_ci_tests_the_versions_of_python_that_the_package_claims() -> None:
    versions = CI["jobs"]["test"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: "
    claimed = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    assert versions == claimed
    oldest, newest = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert versions == [f"3.{minor}" for minor in range(int(oldest), int(newest))]
    assert commands("test") == ["make test PYTHON=python"]


def test_ci_installs_and_samples_on_windows() -> None:
    assert CI["jobs"]["windows"]["runs-on"] == "windows-latest"
    assert [shlex.split(command)[1] for command in commands("windows")] == ["-m", "-c", "sample.py"]
    for stored in re.findall(r"tests/stored/\w+", " ".join(commands("windows"))):
        assert (ROOT / stored / "checkpoints" / "last.ckpt").is_file()


def test_hooks_run_what_make_check_runs() -> None:
    [recipe] = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    checks = {line.split()[0].removeprefix("$(BIN)/") for line in recipe.splitlines()}
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks()}
    assert checks == {"ruff", "mypy"}
    assert checks <= tools
    assert {hook["language"] for hook in hooks()} == {"system"}
