"""Runs notebooks and keeps what they show, without Jupyter.

    python docs/notebooks.py [<notebook> ...]
    python docs/notebooks.py --check [<notebook> ...]

Each notebook (default: all of ``docs/notebooks``) is run from top to bottom in a temporary folder and written back with
what was printed and drawn, pictures as small PNGs. Of IPython's own syntax it knows lines that begin with ``!``, and
passes over those that begin with ``%``.

With ``--check`` nothing is run or written: it says what is wrong with the stored outputs, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from PIL import Image

NOTEBOOKS = Path(__file__).parent / "notebooks"
#: a file of one machine: below a home, a temporary folder or a drive
ABSOLUTE = re.compile(r"(?<![\w.:/])(?:/(?:home|root|Users|tmp|var|mnt|opt|work|content)/|[A-Z]:[\\/])[^\s\"']*")
DPI, COLOURS = 80, 128


def shell(command: str) -> None:
    """What IPython does for a line that begins with ``!``.

    Raises:
        RuntimeError: the command failed. IPython would go on.
    """
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode} of {command}\n{done.stdout}")


def python_of(source: str) -> str:
    """A code cell as plain Python: ``!`` lines become calls of `shell`, ``%`` lines nothing."""
    source = re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE)
    return re.sub(r"^(\s*)!(.*)$", lambda m: f"{m[1]}shell(f{m[2].strip()!r})", source, flags=re.MULTILINE)


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """In order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(notebook: dict[str, Any], folder: Path) -> None:
    """Runs all code cells in ``folder``, in this process, and puts their outputs into ``notebook``.

    Raises:
        Exception: that of the first cell that fails.
    """
    namespace: dict[str, Any] = {"__name__": "__main__", "shell": shell}
    with plt.ioff(), mpl.rc_context(), contextlib.chdir(folder), _temporary(folder), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*non-interactive, and thus cannot be shown.*")
        for count, cell in enumerate(code_cells(notebook), 1):
            plt.close("all")
            cell["outputs"], cell["execution_count"] = _run("".join(cell["source"]), namespace, count), count
        plt.close("all")


def faults(notebook: dict[str, Any]) -> list[str]:
    """What is wrong with the stored outputs, in sentences; empty if nothing is.

    The cells were run once from top to bottom, none failed, and neither sources nor texts name a file of one machine.
    """
    cells = code_cells(notebook)
    counts = [cell["execution_count"] for cell in cells]
    found = []
    if counts != list(range(1, len(cells) + 1)):
        found.append(f"cells were not run once from top to bottom: their counts are {counts}; run docs/notebooks.py")
    for number, cell in enumerate(notebook["cells"], 1):
        outputs = cell.get("outputs", [])
        found += [f"cell {number} shows an error" for output in outputs if output["output_type"] == "error"]
        texts = [cell["source"], *(text for output in outputs for text in _texts(output))]
        paths = {path for text in texts for path in ABSOLUTE.findall("".join(text))}
        found += [f"cell {number} names {path}, a file of one machine" for path in sorted(paths)]
    return found


def _texts(output: dict[str, Any]) -> list[list[str]]:
    data = output.get("data", {})
    return [output.get("text", []), *(lines for kind, lines in data.items() if kind.startswith("text/"))]


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Temporary folders lie in ``folder``, and go with it."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _run(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """One cell's outputs."""
    tree = ast.parse(python_of(source), f"<cell {count}>")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value, printed = None, io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        exec(compile(tree, f"<cell {count}>", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"<cell {count}>", "eval"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    for number in plt.get_fignums():
        data = {"image/png": _png(plt.figure(number)), "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(True)}
        outputs.append({"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}})
    return outputs


def _png(figure: Any) -> str:
    """Base64 of a small file."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, dpi=DPI, bbox_inches="tight", facecolor="white")
    Image.open(drawn).convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE).save(
        small, "PNG", optimize=True
    )
    return base64.b64encode(small.getvalue()).decode()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="*", help="files (default: all)")
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the stored outputs")
    arguments = parser.parse_args()
    paths = arguments.notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    if arguments.check:
        found = [f"{path}: {fault}" for path in paths for fault in faults(json.loads(path.read_text("utf-8")))]
        raise SystemExit("\n".join(found) or 0)
    mpl.use("agg")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for path in paths:
        notebook = json.loads(path.read_text("utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print(f"{path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
