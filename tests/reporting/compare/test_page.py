"""The page in a browser, at the width of a phone and of a desk: nothing is missing or cut."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adversaria.reporting.compare import find_runs, make_sections, read_runs, write_report

MakeRun = Callable[..., Path]

#: written into the page, which then carries what a reader would see of it
MEASURE = """
<pre id="measured"></pre>
<script>
const box = (element) => element.getBoundingClientRect();
const cut = (element) => [...element.querySelectorAll("*")].some((child) => {
  for (let node = child; node !== element; node = node.parentElement)
    if (node.classList.contains("scroll") || node.tagName === "svg") return false;
  return box(child).right > innerWidth + 0.5;
});
document.getElementById("measured").textContent = JSON.stringify({
  inner: innerWidth,
  scroll: document.documentElement.scrollWidth,
  images: [...document.images].map((image) => [image.naturalWidth, box(image).width]),
  drawings: [...document.querySelectorAll("svg")].map((svg) => [box(svg).width, box(svg).height]),
  cut: cut(document.querySelector("main")),
  tables: [...document.querySelectorAll("table")].map((table) => box(table).width),
  narrowest: Math.min(...[...document.querySelectorAll("tbody th")].map((head) => box(head).width)),
  text: document.querySelector("main").innerText,
});
</script>
"""


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser: ``$CHROMIUM``, Debian's, Chrome, or the one of playwright."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = [path for name in names if name and (path := shutil.which(name))]
    found += map(str, sorted(Path("~/.cache/ms-playwright").expanduser().glob("chromium-*/chrome-linux*/chrome")))
    if not found:
        pytest.skip("needs Chromium (set CHROMIUM to its path)")
    return found[0]


@pytest.fixture(scope="module")
def page(make_run_in: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long and hostile names, many scores, two ways of scoring, runs without scores, and a damaged one."""
    folder = tmp_path_factory.mktemp("page")
    make_run = functools.partial(make_run_in, folder)
    many = {f"classifier_{stem}10k": 0.5 for stem in ("kid", "is", "precision", "recall", "density", "coverage")}
    for i, model in enumerate(("dcgan", "a<b>&amp;_c", "a_model_with_a_very_long_name_that_has_no_space_at_all")):
        for loss in ("hinge", "wasserstein"):
            for seed in (1, 2, 3):
                overrides = [f"model={model}", f"loss={loss}", f"seed={seed}"]
                make_run(
                    f"{i}{loss}{seed}", overrides=overrides, curve=[99.0, 4.0 + i + seed], scores=many, pictures=True
                )
    make_run("other", fingerprint={"fakes": 500, "reference_dataset": "mnist"}, overrides=["model=mlp"], pictures=True)
    make_run("none", overrides=["model=vae"], curve=[])
    (make_run("damaged") / "result.json").write_text("{")
    records, warnings = read_runs(find_runs([str(folder)]))
    write_report(make_sections(records), folder / "report", warnings)
    return folder / "report" / "report.html"


def measure(chromium: str, page: Path, width: int) -> dict[str, Any]:
    """Opens the page in a window of ``width`` pixels; headless windows are at least 500 wide, frames are not."""
    copy = page.with_name("measured.html")
    copy.write_text(page.read_text().replace("</body>", f"{MEASURE}</body>"))
    frame = page.with_name(f"frame{width}.html")
    frame.write_text(
        f'<body style="margin:0"><iframe src="measured.html" style="border:0" width="{width}" height="900"></iframe>'
        "<pre id=out></pre><script>onload = () => { document.getElementById('out').textContent ="
        " frames[0].document.getElementById('measured').textContent }</script>"
    )
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --allow-file-access-from-files --virtual-time-budget=10000"
    profile = page.parent / f"profile{width}"
    command = [chromium, *flags.split(), f"--user-data-dir={profile}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None
    measured: dict[str, Any] = json.loads(html.unescape(match[1]))
    return measured


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_missing_or_cut(chromium: str, page: Path, width: int) -> None:
    seen = measure(chromium, page, width)
    assert seen["inner"] == width
    assert seen["scroll"] <= seen["inner"]
    assert not seen["cut"]
    assert len(seen["images"]) == 7 + 2  # training data and a grid of each configuration that has one
    assert all(natural > 0 and 100 < shown <= width for natural, shown in seen["images"])
    assert len(seen["drawings"]) == 2 * 2
    assert all(100 < w <= width and h > 100 for w, h in seen["drawings"])
    assert all(w > 0 for w in seen["tables"])
    assert seen["narrowest"] > 100
    for model in ("dcgan", "a<b>&amp;_c", "a_model_with_a_very_long_name_that_has_no_space_at_all"):
        for loss in ("hinge", "wasserstein"):
            assert seen["text"].count(f"model={model}, loss={loss}") >= 4
    for said in ("Best: model=dcgan", "ways that cannot be compared", "damaged is left out", "reference_dataset"):
        assert said in seen["text"]


def test_the_page_follows_the_theme(page: Path) -> None:
    text = page.read_text()
    assert "prefers-color-scheme: dark" in text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert all("currentColor" in drawing and "#1b1b1e" not in drawing for drawing in drawings)


def test_equal_runs_give_equal_pages(page: Path, tmp_path: Path) -> None:
    records, warnings = read_runs(find_runs([str(page.parent.parent / "runs")]))
    write_report(make_sections(records), tmp_path / "again", warnings)
    assert (tmp_path / "again" / "report.html").read_bytes() == page.read_bytes()
