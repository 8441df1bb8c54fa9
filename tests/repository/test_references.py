"""docs/references.bib is well formed, and the models of this package cite their papers as it lists them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pytest

from adversaria.config.plain import conf_dir

FILE = Path(__file__).resolve().parents[2] / "docs" / "references.bib"
#: the fields that a kind of entry cannot do without, as BibTeX has it (misc: as arXiv does)
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "eprint", "archiveprefix", "year"},
    "techreport": {"author", "title", "institution", "year"},
}
OPTIONAL = {"volume", "number", "pages"}
#: the paper of each model of this package; a model that is not here may cite what it likes, or nothing
PAPERS = {
    "acgan": "odena2017conditional",
    "biggan": "brock2019large",
    "biggan_large": "brock2019large",
    "cgan": "mirza2014conditional",
    "dcgan": "radford2016unsupervised",
    "dragan": "kodali2017convergence",
    "infogan": "chen2016infogan",
    "lsgan": "mao2017least",
    "mgan": "hoang2018mgan",
    "pix2pix": "isola2017image",
    "regression": "isola2017image",
    "projection": "miyato2018cgans",
    "r3gan": "huang2024gan",
    "sagan": "zhang2019self",
    "sndcgan": "miyato2018spectral",
    "sngan": "miyato2018spectral",
    "stylegan2": "karras2020analyzing",
    "stylegan2_cifar": "karras2020training",
    "vae": "kingma2014auto",
    "vae_gan": "larsen2016autoencoding",
    "wgan": "arjovsky2017wasserstein",
    "wgan_gp": "gulrajani2017improved",
}


@dataclass(frozen=True)
class Entry:
    kind: str
    key: str
    fields: dict[str, str]

    @property
    def surnames(self) -> list[str]:
        return [plain(author.split(",")[0]) for author in self.fields["author"].split(" and ")]

    @property
    def citation(self) -> str:
        """As the texts cite it: ``Author year``, ``Author & Author year`` or ``Author et al. year``."""
        first, *others = self.surnames
        names = {0: first, 1: " & ".join(self.surnames)}.get(len(others), f"{first} et al.")
        return f"{names} {self.fields['year']}"


def plain(text: str) -> str:
    """Without the braces and accents of LaTeX."""
    text = re.sub(r"\\([lo])\b", r"\1", text)
    return re.sub(r"\\.|[{}]", "", text).strip()


def ascii_letters(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return re.sub(r"[^a-z]", "", decomposed.lower())


def read(text: str) -> list[Entry]:
    """The entries of a file that has one field on each line."""
    entries = re.findall(r"^@(\w+)\{([^,\n]*),\n(.*?)^\}$", text, flags=re.MULTILINE | re.DOTALL)
    return [
        Entry(kind, key, dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, flags=re.MULTILINE)))
        for kind, key, body in entries
    ]


ENTRIES = read(FILE.read_text(encoding="utf-8"))
BY_KEY = {entry.key: entry for entry in ENTRIES}


def citations(text: str) -> list[str]:
    """``Author et al. 2019`` and the like, in the form of `Entry.citation`, accents dropped as there."""
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    found = re.findall(r"((?:de )?[A-Z][\w-]+(?: et al\.| & [A-Z][\w-]+)?),? \(?((?:19|20)\d\d)\b", text)
    return [f"{names} {year}" for names, year in found]


def head_comment(text: str) -> str:
    """What stands before the first line that is no comment."""
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[:end])


def test_nothing_in_the_file_is_left_unread() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(ENTRIES) == text.count("@") >= 30
    for entry in ENTRIES:
        body = text.split(f"{{{entry.key},\n")[1].split("\n}\n")[0]
        assert len(entry.fields) == len(body.splitlines()), f"{entry.key}: a field twice, or not on a line of its own"
        assert all(value.count("{") == value.count("}") for value in entry.fields.values()), entry.key


def test_keys_are_unique_and_sorted() -> None:
    keys = [entry.key for entry in ENTRIES]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.key for entry in ENTRIES])
def test_entry(entry: Entry) -> None:
    assert REQUIRED[entry.kind] <= entry.fields.keys() <= REQUIRED[entry.kind] | OPTIONAL
    assert all(entry.fields.values())
    assert re.fullmatch(r"[a-z]+(19|20)\d\d[a-z]+", entry.key)
    assert entry.key.startswith(ascii_letters(entry.surnames[0]) + entry.fields["year"])
    word = entry.key.removeprefix(ascii_letters(entry.surnames[0]) + entry.fields["year"])
    assert word in [ascii_letters(part) for part in re.split(r"[\s:-]+", plain(entry.fields["title"]))]
    authors = entry.fields["author"].removesuffix(" and others").split(" and ")
    assert all("," in author for author in authors), "Surname, First names"
    if "eprint" in entry.fields:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", entry.fields["eprint"])


@pytest.mark.parametrize("model", PAPERS)
def test_models_cite_their_paper_and_no_unlisted_one(model: str) -> None:
    file = conf_dir() / "model" / f"{model}.yaml"
    cited = citations(head_comment(file.read_text(encoding="utf-8")))
    assert BY_KEY[PAPERS[model]].citation in cited
    assert set(cited) <= {entry.citation for entry in ENTRIES}


def test_how_citations_are_read() -> None:
    text = "# BigGAN (Brock et al. 2019), hinge loss of Lim & Ye (2017); de Vries et al. 2017, Jolicoeur-Martineau 2019"
    read = citations(text)
    assert read == ["Brock et al. 2019", "Lim & Ye 2017", "de Vries et al. 2017", "Jolicoeur-Martineau 2019"]
    assert set(read) <= {entry.citation for entry in ENTRIES}
    assert citations("# Kynkäänniemi et al. 2019") == [BY_KEY["kynkaanniemi2019improved"].citation]
    assert not citations("# a model of our own: 32 px, batch 2048, version 2019")
    assert head_comment("# @package _global_\n# One.\nmodel:\n  # Two.\n") == "# @package _global_\n# One."
