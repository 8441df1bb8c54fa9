"""Writes the table of groups and choices, `choices.md`, from the first comment of each file in ``conf/``.

python docs/choices.py
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Choices

Each group of `conf/` is a choice on the command line, as in `python train.py model=sngan data=cifar10 augment=ada`;
groups with several choices at a time take a list, `regulariser=[r1,lecam]`. Made by `python docs/choices.py`.

"""
#: in the order in which one thinks of them; hydra/ and local/ are no choices
GROUPS = (
    "model", "generator", "discriminator", "data", "loss", "regulariser", "augment", "latent", "pairing", "optim",
    "schedule", "metrics", "callbacks", "guard", "warm_start", "auto", "logger", "trainer", "experiment", "sweep",
    "debug", "usefulness", "memorisation",
)  # fmt: skip


def describe(file: Path) -> str:
    """The first comment of a config that is no package directive."""
    comments = [line[2:].strip() for line in file.read_text().splitlines() if line.startswith("# ")]
    return next(comment for comment in comments if not comment.startswith("@package"))


def table() -> str:
    """A Markdown table with a row for each choice."""
    unknown = {f.name for f in (ROOT / "conf").iterdir() if f.is_dir()} - {*GROUPS, "hydra", "local"}
    if unknown:
        raise SystemExit(f"docs/choices.py does not list the groups {sorted(unknown)} of conf/; add them to GROUPS")
    rows = ["| choice | what it is |", "|---|---|"]
    for group in GROUPS:
        files = sorted((ROOT / "conf" / group).glob("*.yaml"))
        rows += [f"| `{group}={file.stem}` | {describe(file).replace('|', '/')} |" for file in files]
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    return HEAD + table()


if __name__ == "__main__":
    (ROOT / "docs" / "choices.md").write_text(page())
