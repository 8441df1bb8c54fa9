"""What all commands share: bad command lines, failed starts, exit codes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import adversaria
from adversaria.cli import compare, doctor, evaluate, sample, train
from adversaria.core.errors import UserError

Command = Callable[..., tuple[int, str, str]]

POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=1000",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "metrics=none",
    "logger=none",
    "trainer.max_steps=2",
    "trainer.accelerator=cpu",
)
#: a user's own callback, whose constructor, start or third update fails
OWN = """
from lightning.pytorch.callbacks import Callback

class Faulty(Callback):
    def __init__(self, when: str) -> None:
        self.when = when
        if when == "built":
            raise KeyError("no such thing")

    def on_train_start(self, trainer, pl_module):
        if self.when == "started":
            raise AttributeError("nothing there")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.when == "running" and trainer.global_step == 1:
            raise AttributeError("nothing there")
        if self.when == "unreadable" and trainer.global_step == 1:
            open("nowhere")
"""


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path_factory.mktemp("own")
    (folder / "faulty_callbacks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    return "faulty_callbacks"


def sentence(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.devices=0"], r"trainer\.devices=0 "),
        (["trainer.devices=[]"], r"trainer\.devices=\[\] "),
        (["trainer.devices=[0,0]"], r"trainer\.devices=\[0, 0\] "),
        (["trainer.devices=4000"], r"trainer\.devices=4000 asks for more than there are"),
        (["trainer.num_nodes=7"], r"trainer\.num_nodes=7 would wait"),
        (["trainer.precision=fp8"], r"trainer\.precision=fp8 "),
        (["trainer.strategy=fsdp"], r"trainer\.strategy=fsdp "),
        (["trainer.log_every_n_steps=0"], r"trainer\.log_every_n_steps=0 "),
        (["+trainer.barebones=true"], r"trainer\.barebones=true is refused by Trainer"),
        (["~trainer.max_steps"], r"trainer\.max_steps is needed; leave ~trainer\.max_steps out"),
        (["~trainer.devices"], r"trainer\.devices is needed"),
        (["~data"], r"data is needed; leave ~data out"),
        (["~seed"], r"seed is needed; leave ~seed out"),
        (["~nosuch"], r"nosuch is not there; leave ~nosuch out"),
        (["data=null"], r"data=null is no choice of the group data; choose one, as celeba"),
        (["data=[1]"], r"data=\[1\] is no choice of the group data"),
        (["=3"], r"=3 has no key"),
        (["model="], r"model=empty is no choice of the group model"),
        (["+foo.bar=1"], r"foo is not a key or group of train\.yaml"),
        (["+optim.generator.fused=true"], r"optim\.generator\.fused is there already; leave out the \+"),
        (["+data=digits"], r"data has a choice already"),
        (["experiment=[dcgan_small,nosuch]"], r"experiment=nosuch does not exist"),
        (["--config-name", "nosuch"], r"--config-name=nosuch does not exist"),
        (["seed=1", "-m", "loss=hinge,hinged"], r"loss=hinged does not exist; did you mean hinge"),
        (["data.batch_size=${data.batch_size}"], r"data\.batch_size: Recursive interpolation"),
        (["model.generator.width=1000000"], r"not enough memory.*: model\.generator\.width=1000000 may be too large"),
        (["optim.generator_batch=1000000000"], r"not enough memory.*optim\.generator_batch=1000000000"),
        (["+optim.generator.differentiable=true"], r"optim\.generator\.differentiable=true.* is refused by Optim"),
        (["logger=wandb"], r"logger\.wandb is refused by WandbLogger: .*wandb"),
        (["-m", "seed=-1"], r"seed=-1 is not"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_start_is_one_sentence_with_code_2_and_leaves_nothing(
    command: Command, in_tmp: Path, arguments: list[str], message: str
) -> None:
    code, _, err = command(train, *POINTS, *arguments)
    assert re.search(message, sentence(err)), err
    assert code == 2
    assert list(in_tmp.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_named_and_the_folder_stays_free(
    command: Command, in_tmp: Path, accelerator: str
) -> None:
    code, _, err = command(train, *POINTS, "run_dir=mine", f"trainer.accelerator={accelerator}")
    assert f"trainer.accelerator={accelerator} needs a GPU" in sentence(err)
    assert code == 2
    assert not (in_tmp / "mine").exists()
    assert command(train, *POINTS, "run_dir=mine")[0] == 0


def test_a_folder_of_the_users_stays_when_a_run_cannot_start_in_it(command: Command, in_tmp: Path, own: str) -> None:
    (in_tmp / "mine").mkdir()
    faulty = (f"trust=[{own}]", f"+callbacks.own._target_={own}.Faulty", "+callbacks.own.when=started")
    assert command(train, *POINTS, "run_dir=mine", *faulty)[0] == 2
    assert list((in_tmp / "mine").iterdir()) == []
    assert command(train, *POINTS, "run_dir=mine")[0] == 0


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("built", r"callbacks\.own fails in Faulty: KeyError: 'no such thing'; HYDRA_FULL_ERROR=1 shows where"),
        ("started", r"the first update fails: AttributeError: nothing there; HYDRA_FULL_ERROR=1 shows where"),
    ],
)
def test_a_component_that_fails_before_the_first_update_is_named(
    command: Command, in_tmp: Path, own: str, when: str, message: str
) -> None:
    code, _, err = command(
        train, *POINTS, f"trust=[{own}]", f"+callbacks.own._target_={own}.Faulty", f"+callbacks.own.when={when}"
    )
    assert re.search(message, sentence(err)), err
    assert code == 2
    assert list(in_tmp.iterdir()) == []


def test_a_mistake_of_the_code_after_the_first_update_keeps_its_traceback(
    command: Command, in_tmp: Path, own: str
) -> None:
    faulty = (f"trust=[{own}]", f"+callbacks.own._target_={own}.Faulty", "+callbacks.own.when=running")
    with pytest.raises(AttributeError, match="nothing there"):
        command(train, *POINTS, "run_dir=mine", *faulty)
    assert (in_tmp / "mine" / "config.yaml").is_file()


def test_a_file_that_is_missing_later_is_a_sentence_that_says_what_is_saved(
    command: Command, in_tmp: Path, own: str
) -> None:
    faulty = (f"trust=[{own}]", f"+callbacks.own._target_={own}.Faulty", "+callbacks.own.when=unreadable")
    code, _, err = command(train, *POINTS, "run_dir=mine", *faulty)
    assert re.search(r"nowhere: No such file or directory.*; nothing of it has been saved", sentence(err)), err
    assert code == 1
    assert (in_tmp / "mine" / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (sample, ["~checkpoint"]),
        (sample, ["checkpoint=nosuch", "-m", "seed=1"]),
        (evaluate, ["metrics=3", "images=x"]),
        (evaluate, ["images=nosuch", "data=digits"]),
        (compare, ["runs=[]"]),
        (compare, ["nosuch", "runs=x"]),
        (doctor, ["runs=[]"]),
        (doctor, ["nosuch"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.__name__.rpartition(".")[2],
)
def test_every_command_has_one_code_for_what_the_user_can_put_right(
    command: Command, in_tmp: Path, module: object, arguments: list[str]
) -> None:
    code, _, err = command(module, *arguments)
    sentence(err)
    assert code == 2
    assert list(in_tmp.iterdir()) == []


def test_options_may_stand_between_choices(command: Command, in_tmp: Path) -> None:
    code, out, err = command(train, "model=mlp", "--cfg", "job", "data=ring8", "--resolve")
    assert code == 0, err
    assert "GaussianMixture" in out


@pytest.mark.parametrize(
    "overrides", [["data=null"], ["modle=mlp"], ["trainer.precision=16"], ["+trainer.barebones=true"], ["model=dcgann"]]
)
def test_from_python_the_same_is_an_error_for_users(in_tmp: Path, overrides: list[str]) -> None:
    environment = dict(os.environ)
    with pytest.raises(UserError):
        adversaria.train(*POINTS, *overrides, run_dir="mine")
    assert list(in_tmp.iterdir()) == []
    assert dict(os.environ) == environment


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"^device=nosuch is refused"):
        adversaria.load("anywhere", device="nosuch")
