"""What libraries and the machine raise, as one sentence; what is a mistake of the code stays what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from adversaria.config.blame import blamed, no_room, starting, told
from adversaria.core.errors import CutShort, UserError

CONFIG = {
    "trainer": {"accelerator": "warp", "devices": 3},
    "data": {"batch_size": 7_000_000, "seed": 3},
    "compile": False,
}


def said(error: Exception, **node: object) -> str:
    with pytest.raises(UserError) as caught, blamed("part.one", node, "Thing"):
        raise error
    assert caught.value.__cause__ is error
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_refusal_names_the_fields_that_it_is_about() -> None:
    assert said(ValueError("`width` must be odd"), width=4, depth=2) == (
        "part.one.width=4 is refused by Thing: `width` must be odd"
    )
    assert said(ValueError("cannot take warp"), kind="warp").startswith("part.one.kind=warp is refused by Thing")
    assert said(ValueError("no"), inner={"rate": None}) == "part.one is refused by Thing: no"
    assert said(TypeError("bad rate"), inner={"rate": None}).startswith("part.one.inner.rate=null fails in Thing")


@pytest.mark.parametrize("error", [KeyError("x"), AttributeError("x"), ZeroDivisionError(), RuntimeError("x\ny")])
def test_what_may_be_a_mistake_of_the_code_says_how_to_see_where(error: Exception) -> None:
    sentence = said(error)
    assert "HYDRA_FULL_ERROR=1" in sentence
    assert sentence.startswith("part.one ")
    assert "\n" not in sentence
    assert isinstance(error, RuntimeError) or type(error).__name__ in sentence


def test_a_lack_of_memory_names_the_largest_sizes_in_any_library() -> None:
    too_large = r"not enough memory; \d+ bytes .*: data\.batch_size=7000000 may be too large"
    with pytest.raises(UserError, match=too_large), starting(CONFIG, "a part"):
        torch.empty(10**17)
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0")):
        assert "part.one.width=70000 may be too large" in said(error, width=70_000, depth=2, name="a", raw=True)


def test_the_start_blames_settings_of_the_trainer() -> None:
    with pytest.raises(UserError, match=r"^trainer\.accelerator=warp is refused: no warp here$"), starting(CONFIG, "x"):
        raise ValueError("no warp here")


def test_files_that_cannot_be_read_are_named_at_any_time(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: No such file or directory"), told(CONFIG):
        (tmp_path / "nowhere").read_text()
    with pytest.raises(CutShort, match=r"Is a directory.*; saved") as caught, told(CONFIG, saved="saved"):
        tmp_path.read_text()
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), KeyError("x"), RuntimeError("shapes"), BrokenPipeError(32, "pipe")]
)
def test_mistakes_of_the_code_keep_their_traceback_once_it_runs(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, told(CONFIG):
        raise error
    assert caught.value is error


def test_a_full_disk_is_passed_on_to_who_knows_what_is_saved() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert no_room(full)
    with pytest.raises(OSError, match="No space left"), blamed("part", {}):
        raise full


def test_sentences_for_users_pass_unchanged() -> None:
    for block in (blamed("part", {}), told({})):
        with pytest.raises(UserError, match=r"^mine$"), block:
            raise UserError("mine")
