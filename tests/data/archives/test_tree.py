"""Folders, tar and zip give the same; hostile and damaged archives give a sentence and touch nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.core.errors import UserError
from adversaria.data.archives.tree import open_tree

FILES = {"train/cat/1.png": b"one", "train/dog/2.png": b"two", "readme.txt": b"hello"}


def tar(path: Path, members: list[tarfile.TarInfo], data: bytes = b"evil") -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def original(tmp_path: Path) -> Path:
    for name, data in {**FILES, ".hidden/x.png": b"", "__MACOSX/._1.png": b"", "train/.DS_Store": b""}.items():
        path = tmp_path / "original" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "original"


def packed(original: Path, ending: str) -> Path:
    path = original.with_name(f"packed{ending}")
    if ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(original.rglob("*")):
                archive.write(file, file.relative_to(original))
    else:
        with tarfile.open(path, f"w:{ending.rpartition('.')[2].replace('tar', '')}") as archive:
            archive.add(original, ".")
    return path


@pytest.mark.parametrize("ending", ["", ".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_folders_and_archives_hold_the_same(original: Path, ending: str):
    tree = open_tree(packed(original, ending) if ending else original)
    assert tree.names() == sorted(FILES)
    wanted = [name for name in FILES if name.endswith(".png")]
    assert {file.name: file.read() for file in tree.files(wanted)} == {name: FILES[name] for name in wanted}


def test_a_large_tar_is_read_a_second_time_rather_than_kept(original: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adversaria.data.archives.tree._KEPT_BYTES", 4)
    tree = open_tree(packed(original, ".tar.xz"))
    assert tree.names() == sorted(FILES)
    assert {file.name: file.read() for file in tree.files(FILES)} == FILES


@pytest.mark.parametrize("ending", ["", ".tar.xz", ".zip"])
def test_the_fingerprint_moves_with_the_tree_and_changes_with_its_content(original: Path, ending: str):
    path = packed(original, ending) if ending else original
    before = open_tree(path).fingerprint()
    moved = path.rename(path.with_name(f"moved{ending}"))
    assert open_tree(moved).fingerprint() == before
    if ending:
        with moved.open("r+b") as file:
            file.write(b"?")
        os.utime(moved, ns=(0, 0))
    else:
        (moved / "train/cat/1.png").write_bytes(b"three")
    changed = _fingerprint_of_unread(moved)
    assert changed != before


def _fingerprint_of_unread(path: Path) -> str:
    from adversaria.data.archives.tree import FolderTree, TarTree, ZipTree

    if path.is_dir():
        return FolderTree(path).fingerprint()
    return (ZipTree(path) if path.suffix == ".zip" else TarTree(path)).fingerprint()


def test_links_in_a_users_folder_are_followed_without_going_in_circles(original: Path):
    (original / "again").symlink_to(original, target_is_directory=True)
    elsewhere = original.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "3.png").write_bytes(b"three")
    (original / "linked").symlink_to(elsewhere, target_is_directory=True)
    assert open_tree(original).names() == sorted([*FILES, "linked/3.png"])


@pytest.mark.parametrize(
    "evil",
    [
        member("../evil.png"),
        member("a/../../evil.png"),
        member("/tmp/evil.png"),
        member("..\\evil.png"),
        member("C:\\evil.png"),
        member("link.png", tarfile.SYMTYPE, "/etc/passwd"),
        member("link.png", tarfile.LNKTYPE, "../../secret"),
        member("device.png", tarfile.CHRTYPE),
        member("pipe.png", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type!r}",
)
def test_an_unsafe_tar_is_refused_and_nothing_is_written(tmp_path: Path, evil: tarfile.TarInfo):
    (tmp_path / "deep").mkdir()
    path = tar(tmp_path / "deep/evil.tar", [member("fine.png"), evil])
    before = sorted(tmp_path.rglob("*"))
    tree = open_tree(path)
    with pytest.raises(UserError, match="unsafe entry"):
        tree.names()
    with pytest.raises(UserError, match="unsafe entry"):
        list(tree.files(["fine.png", evil.name]))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "mode"), [("../evil.png", 0), ("/evil.png", 0), ("x.png", stat.S_IFLNK), ("x.png", stat.S_IFCHR)]
)
def test_an_unsafe_zip_is_refused_and_nothing_is_written(tmp_path: Path, name: str, mode: int):
    path = tmp_path / "evil.zip"
    info = zipfile.ZipInfo(name)
    info.external_attr = (mode | 0o644) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="unsafe entry"):
        open_tree(path).names()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz", ".zip"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_cut_off_archive_gives_a_sentence(original: Path, ending: str, share: float):
    (original / "noise.bin").write_bytes(os.urandom(50_000))
    path = packed(original, ending)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    def read_all() -> None:
        tree = open_tree(path)
        for file in tree.files(tree.names()):
            file.read()

    with pytest.raises(UserError, match="cut off"):
        read_all()


@pytest.mark.parametrize("ending", [".tar.gz", ".tar.xz", ".zip"])
def test_an_overwritten_archive_gives_a_sentence(original: Path, ending: str):
    (original / "zeros.bin").write_bytes(bytes(range(256)) * 2000)
    path = packed(original, ending)
    data = bytearray(path.read_bytes())
    start = data.index(b"zeros.bin") + 9 if ending == ".zip" else len(data) // 2
    data[start : start + 64] = b"\xff" * 64
    path.write_bytes(data)

    def read_all() -> None:
        tree = open_tree(path)
        for file in tree.files(tree.names()):
            file.read()

    with pytest.raises(UserError, match="damaged"):
        read_all()


def test_an_encrypted_zip_gives_a_sentence(tmp_path: Path):
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"data")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the local header, and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    tree = open_tree(path)
    with pytest.raises(UserError, match="encrypt"):
        list(tree.files(tree.names()))


def test_the_same_name_twice_is_refused(tmp_path: Path):
    path = tar(tmp_path / "twice.tar", [member("a.png"), member("./a.png")])
    with pytest.raises(UserError, match="twice"):
        open_tree(path).names()


def test_a_file_that_swells_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adversaria.data.archives.tree._LARGEST_FILE", 1000)
    monkeypatch.setattr("adversaria.data.archives.tree._KEPT_BYTES", 100)
    tar_path = tar(tmp_path / "big.tar", [member("a.png")], data=bytes(10**6))
    zip_path = tmp_path / "big.zip"
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**6))
    for path in (tar_path, zip_path):
        tree = open_tree(path)
        (file,) = tree.files(tree.names())
        with pytest.raises(ValueError, match="larger than"):
            file.read()


def test_what_is_not_there_or_no_archive_gives_a_sentence(tmp_path: Path):
    with pytest.raises(UserError, match=r"data\.root=.*does not exist"):
        open_tree(tmp_path / "nothing")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(UserError, match="neither a folder nor"):
        open_tree(tmp_path / "text.zip")


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [b"\x80" + b"\xff" * 11, b"\xff" * 10 + b"\xfc\0"], ids=["endless", "negative"])
@pytest.mark.parametrize("kind", [b"0", b"L", b"x"], ids=["file", "long_name", "pax"])
def test_a_header_that_states_an_impossible_size_is_a_sentence(
    tmp_path: Path, compress: Callable[[bytes], bytes], kind: bytes, size: bytes
):
    header = tarfile.TarInfo("a/0.png").tobuf(tarfile.GNU_FORMAT)
    # Sizes in binary notation: larger than any disk, and one that leads back to the header.
    header = header[:124] + size + header[136:148] + b" " * 8 + kind + header[157:]
    header = header[:148] + b"%06o\0 " % sum(header[:512]) + header[156:]
    path = tmp_path / "endless.tar"
    path.write_bytes(compress(header + b"\0" * 1024))
    with pytest.raises(UserError, match=r"data\.root=.*endless\.tar"):
        open_tree(path).names()


def test_a_zip_entry_is_unpacked_no_further_than_it_says(tmp_path: Path):
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 2**22)
    whole = path.read_bytes()
    lied = whole.replace((2**22).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(lied)
    tree = open_tree(path)
    with pytest.raises(UserError, match="CRC"):
        list(tree.files({"a.png"}))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "images.tar")
    with pytest.raises(UserError, match="neither a folder nor a file"):
        open_tree(tmp_path / "images.tar")
