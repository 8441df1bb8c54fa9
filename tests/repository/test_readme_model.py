"""The README's example of a model of one's own, outside the package, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_trains_from_outside(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    [code] = re.findall(r"```python\n# mypackage/tiny.py\n(.*?)```", readme, re.DOTALL)
    [config] = re.findall(r"```yaml\n# conf/model/tiny.yaml\n(.*?)```", readme, re.DOTALL)
    for path, text in (("mypackage/tiny.py", code), ("mypackage/__init__.py", ""), ("my_conf/model/tiny.yaml", config)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    command = [sys.executable, str(ROOT / "train.py"), "--config-dir=my_conf", "model=tiny", "metrics=none"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        arguments = [*command, "trainer.max_steps=2", "run_dir=mine", *more]
        return subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)

    refused = run()
    assert refused.returncode == 2
    assert "trust=[mypackage]" in refused.stderr
    assert not (tmp_path / "mine").exists()
    trained = run("trust=[mypackage]")
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "mine" / "samples" / "000002.png").is_file()
