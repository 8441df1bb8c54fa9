"""The wheel brings its configs and commands along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_runs_from_an_empty_folder(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("adversaria/") for name in names if name.startswith("adversaria/conf/")}
    assert shipped == {
        str(f.relative_to(ROOT)) for f in (ROOT / "conf").rglob("*") if f.is_file() and "local" not in f.parts
    } | ({"conf/local/.gitkeep"} & shipped)
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import adversaria.config.plain as c; print(c.conf_dir())"]
    printed = subprocess.run(where, cwd=empty, env=environment, check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == str(tmp_path / "site" / "adversaria" / "conf")
    command = [
        sys.executable,
        str(tmp_path / "site" / "bin" / "adversaria-train"),
        "model=mlp",
        "data=ring8",
        "data.count=1000",
        "metrics=none",
        "trainer.max_steps=2",
        "run_dir=mine",
    ]
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (empty / "mine" / "checkpoints" / "last.ckpt").is_file()
    sample = [
        sys.executable,
        str(tmp_path / "site" / "bin" / "adversaria-sample"),
        "checkpoint=mine",
        "count=4",
        "out=s.png",
    ]
    done = subprocess.run(sample, cwd=empty, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (empty / "s.png").is_file()
