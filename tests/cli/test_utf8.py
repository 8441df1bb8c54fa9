"""Text is UTF-8 whatever the locale, and a name that is not UTF-8 breaks nothing."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from adversaria.cli import compare, sample, train, utf8
from adversaria.cli.arguments import quoted
from adversaria.runs.folder import Run

Command = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = sorted(path for place in ("src", "benchmarks") for path in (ROOT / place).rglob("*.py"))
#: whose ``open`` gives bytes; ``archive`` is a zip archive wherever the package says so
BYTES = [f"{owner}.open" for owner in ("os", "Image", "tarfile", "gzip", "bz2", "lzma", "archive")]


def calls_without_encoding(source: str) -> Iterator[int]:
    """Lines of calls that read or write text in the encoding of the locale.

    ``read_text`` and ``write_text`` that are not called as a method are those of `adversaria.core.files`.
    """
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        *owner, name = ast.unparse(call.func).rsplit(".", 1)
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        function = not owner or owner[0] in ("io", "os")  # where the file comes first, and the mode second
        mode = given.get("mode") or next(iter(call.args[1 if function else 0 :]), None)
        text = "b" not in (ast.unparse(mode) if mode else "r")
        wrong = (
            (name in ("read_text", "write_text") and owner not in ([], ["files"]))
            or (name in ("open", "fdopen") and text and ast.unparse(call.func) not in BYTES)
            or name in ("FileHandler", "TextIOWrapper")
            or given.keys() & {"text", "universal_newlines"}
        )
        named = "encoding" in given or any("utf-8" in ast.unparse(argument) for argument in call.args)
        if wrong and not named:
            yield call.lineno


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    assert len(SOURCES) > 150
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in SOURCES
        for line in calls_without_encoding(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("open(path)", True),
        ("open(path, 'a', newline='')", True),
        ("open(path, 'rb')", False),
        ("open(path, mode='wb')", False),
        ("open(path, encoding='utf-8')", False),
        ("os.fdopen(number, 'w')", True),
        ("os.fdopen(number, 'w+b')", False),
        ("folder.path.open('w')", True),
        ("(folder / 'x').open()", True),
        ("path.open('ab')", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("archive.open(member)", False),
        ("(folder / 'x').read_text()", True),
        ("path.read_text('utf-8')", False),
        ("path.write_text(text, 'utf-8')", False),
        ("path.write_text(text)", True),
        ("write_text(path, text)", False),
        ("logging.FileHandler(path)", True),
        ("subprocess.run(command, text=True)", True),
        ("subprocess.run(command, encoding='utf-8')", False),
    ],
)  # fmt: skip
def test_such_calls_are_found(line: str, wrong: bool) -> None:
    assert list(calls_without_encoding(line)) == ([1] if wrong else [])


#: a locale without UTF-8, which Python is told to believe
FOREIGN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMAND = "from adversaria.cli.train import main; raise SystemExit(main())"
SMALL = (
    "data=image_folder",
    "data.size=16",
    "model=dcgan",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "data.batch_size=4",
    "metrics=none",
    "callbacks.samples.count=4",
    "trainer.accelerator=cpu",
)


def photos(root: Path) -> Path:
    """Real digits in two folders, the name of one in UTF-8, of the other and of all its files not."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images = load_digits().images[:16]
    for i, image in enumerate(images):
        file = root / ("Zwölf Äpfel" if i % 2 else os.fsdecode(b"th\xe9")) / os.fsdecode(b"%d\xe9.png" % i)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype("uint8")).save(file)
    return root


def in_foreign_locale(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))} | FOREIGN
    return subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, cwd=folder, env=environment)


def test_arguments_are_utf8_in_any_locale(in_tmp: Path) -> None:
    done = in_foreign_locale(in_tmp, "--cfg", "job", 'run_dir="Zwölf Äpfel"')
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout.decode("utf-8"))["run_dir"] == "Zwölf Äpfel"


def test_a_process_starts_again_once_and_only_for_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: started.append(arguments))
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-I", "train.py", "seed=1"])
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=1"])
    utf8.use_utf8()
    assert started == []  # this locale is UTF-8
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=2"])
    utf8.use_utf8()
    assert started == []  # a caller's own process
    monkeypatch.setattr(sys, "argv", ["train.py", "seed=1"])
    utf8.use_utf8()
    utf8.use_utf8()
    assert started == [[sys.executable, "-I", "train.py", "seed=1"]]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_the_screen_shows_what_it_lacks_as_an_escape(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", screen)
    utf8.escape_on_screen()
    print("th\udce9 ü 猫", end="")
    screen.flush()
    shown = {"ascii": rb"th\xe9 \xfc \u732b", "latin-1": b"th\\xe9 \xfc \\u732b", "utf-8": "th\\xe9 ü 猫".encode()}
    assert screen.detach().getvalue() == shown[encoding]


def test_a_run_among_names_that_are_not_utf8_trains_and_goes_on(command: Command, in_tmp: Path) -> None:
    name = os.fsdecode(b"caf\xe9 (1)")
    root, folder = f"data.root={quoted(str(photos(in_tmp / name / 'photos')))}", f"run_dir={quoted(f'{name}/run')}"
    code, out, err = command(train, *SMALL, root, "trainer.max_steps=1", folder)
    assert code == 0, err
    assert r"Zwölf Äpfel 8, th\xe9 8" in out
    run = Run(in_tmp / name / "run")
    assert run.stored_overrides()[len(SMALL)] == root  # not escaped: it is to be opened again
    assert r"caf\xe9" in (run.path / "train.log").read_text("utf-8")
    code, out, err = command(train, "trainer.max_steps=2", folder)
    assert code == 0, err
    assert "resumes" in out
    assert (run.read_result() or {})["generator_updates"] == 2
    code, out, err = command(sample, f"checkpoint={quoted(f'{name}/run')}", "count=4", f"out={quoted(f'{name}/é.png')}")
    assert code == 0, err
    assert (in_tmp / name / "é.png").is_file()
    assert command(compare, f"{name}/run", f"out={quoted(f'{name}/report')}")[0] == 0
    assert r"caf\xe9" in (in_tmp / name / "report" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_run_in_any_locale_trains_and_goes_on_in_another(command: Command, in_tmp: Path) -> None:
    root, folder = f"data.root={quoted(str(photos(in_tmp / 'Fotos (ü)')))}", 'run_dir="a=b (1) [ü]"'
    done = in_foreign_locale(in_tmp, *SMALL, root, "trainer.max_steps=1", folder)
    assert done.returncode == 0, done.stderr
    assert r"Zwölf Äpfel 8, th\xe9 8" in done.stdout.decode("utf-8")
    assert command(train, folder, "trainer.max_steps=2")[0] == 0
    done = in_foreign_locale(in_tmp, folder, "trainer.max_steps=3")
    assert done.returncode == 0, done.stderr
    assert (Run(in_tmp / "a=b (1) [ü]").read_result() or {})["generator_updates"] == 3
