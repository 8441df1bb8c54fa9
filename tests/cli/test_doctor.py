"""``doctor.py`` as a user calls it, on runs that were really trained, healthy ones and sick ones."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from adversaria.cli import doctor
from adversaria.core.errors import UserError
from adversaria.health import DiscriminatorWon
from adversaria.reporting.doctor import History, read_history
from adversaria.reporting.doctor.figures import power
from adversaria.reporting.doctor.history import gathered
from adversaria.reporting.doctor.page import page
from adversaria.reporting.doctor.panels import THEMES
from adversaria.runs.folder import Run
from adversaria.sampling.sampler import read_checkpoint

Command = Callable[..., tuple[int, str, str]]
HEALTH = "callbacks.health"
POINTS = (
    "model=mlp",
    "data=ring8",
    "data.count=200",
    "data.batch_size=16",
    "metrics.count=50",
    "model.generator.width=8",
    "model.discriminator.width=8",
    "trainer.max_steps=60",
    "trainer.log_every_n_steps=1",
    f"{HEALTH}.every_n_steps=2",
    f"{HEALTH}.samples=16",
    f"{HEALTH}.singular_values=true",
    "callbacks.checkpoint.every_n_steps=6",
    "callbacks.evaluation.every_n_steps=10",
    "callbacks.evaluation.max_share=null",
    "callbacks.samples.every_n_steps=60",
    "callbacks.samples.count=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)
FAST = ("optim.generator.lr=0.05", "optim.discriminator.lr=0.05")
#: thresholds that find something in the runs at `FAST` rates, at readings and at evaluations
STRICT = (
    f"{HEALTH}.detectors.exploding_gradients.factor=2",
    f"{HEALTH}.detectors.discriminator_won.d_signal=0.5",
    f"{HEALTH}.detectors.generator_collapse.fall=0.5",
    f"{HEALTH}.detectors.generator_collapse.after=10",
    f"{HEALTH}.detectors.score_degrades.factor=1.001",
)
RUNS = {
    "healthy": (),
    "sick": (*FAST, *STRICT),
    "rolled": (*FAST, *STRICT, "guard=rollback", "callbacks.guard.max_rollbacks=2"),
    "diverged": ("optim.generator.lr=1e8", "optim.discriminator.lr=1e8", f"{HEALTH}.every_n_steps=7"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_config: Any) -> Path:
    """A folder with a run of each kind."""
    from adversaria.training.experiment import build_experiment, train

    folder = tmp_path_factory.mktemp("doctor")
    for name, overrides in RUNS.items():
        config = make_config(*POINTS, *overrides)
        run = Run(folder / name)
        with run.started({k: v for k, v in config.items() if k != "trust"}, [*POINTS, *overrides]):
            run.write_result(train(build_experiment(config), run))
    return folder


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``copy("sick")``: a run to be changed."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(trained / name, tmp_path / name))

    return make


@pytest.fixture
def in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One theme on the page instead of all, for tests of everything around the pictures."""
    monkeypatch.setattr("adversaria.reporting.doctor.page.THEMES", THEMES[-1:])


@pytest.fixture(scope="module")
def sick_page(trained: Path) -> str:
    """The whole page of the sick run."""
    return page(read_history(trained / "sick"))


def found(history: History) -> list[dict[str, Any]]:
    return [finding.to_dict() for finding in history.now.examination.findings]


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the config of a run."""
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def drop_columns(path: Path, *prefixes: str) -> None:
    """Rewrites a metrics.csv without some of its columns."""
    with path.open(newline="") as file:
        rows = [{k: v for k, v in row.items() if not k.startswith(prefixes)} for row in csv.DictReader(file)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("name", RUNS)
def test_the_diagnosis_afterwards_is_the_live_one(trained: Path, name: str) -> None:
    live = Run(trained / name).read_result() or {}
    history = read_history(trained / name)
    assert found(history) == live["findings"]
    assert bool(live["findings"]) == (name != "healthy")


@pytest.mark.parametrize("name", ["healthy", "sick"])
def test_detectors_see_the_same_readings_in_the_same_order(trained: Path, name: str) -> None:
    callbacks = read_checkpoint(trained / name)["callbacks"]
    live = next(state for key, state in callbacks.items() if key.startswith("Health"))["examination"]
    replayed = read_history(trained / name).now.examination.state_dict()
    assert replayed["streaks"] == live["streaks"]
    assert [set(reading) for reading in replayed["earlier"]] == [set(reading) for reading in live["earlier"]]
    for afterwards, then in zip(replayed["earlier"], live["earlier"], strict=True):
        assert afterwards == pytest.approx(then, rel=1e-5, nan_ok=True)
    steps = [reading["step"] for reading in live["earlier"]]
    assert len(steps) > len(set(steps))  # at some steps there are two, of the networks and of the score


def test_a_sick_run_is_found_sick_by_several_detectors(trained: Path) -> None:
    detectors = {finding["detector"] for finding in found(read_history(trained / "sick"))}
    assert detectors


def test_a_resumed_run_has_one_diagnosis(train_run: Any) -> None:
    train_run("run", *POINTS, *FAST, *STRICT, "trainer.max_steps=31")
    run = train_run("run", *POINTS, *FAST, *STRICT)
    assert found(read_history(run.path)) == (run.read_result() or {})["findings"]


@pytest.mark.usefixtures("in_short")
def test_what_was_rolled_back_is_diagnosed_as_well(trained: Path, command: Command) -> None:
    folder = trained / "rolled"
    rollbacks = (Run(folder).read_result() or {})["rollbacks"]
    history = read_history(folder)
    assert len(history.given_up) == len(rollbacks) >= 1
    for part, record in zip(history.given_up, rollbacks, strict=True):
        assert record["detector"] in {f.detector for f in part.findings if f.step == record["step"]}
        assert {f.evidence for f in part.findings if f.detector == record["detector"]} == {record["evidence"]}
        assert record["to_step"] < part.own_rows[0]["step"] <= part.own_rows[-1]["step"] == record["step"]
    code, printed, err = command(doctor, str(folder))
    assert code == 0, err
    assert f"rollback 1, from step {rollbacks[0]['step']} back to step {rollbacks[0]['to_step']}" in printed
    written = (folder / "doctor.html").read_text()
    assert "<h2>Rollbacks</h2>" in written
    assert written.count('class="rollback"') == len(rollbacks)
    assert ">given up</text>" in written


def test_a_run_without_a_result_is_diagnosed_from_what_is_there(copy: Any, trained: Path) -> None:
    folder = copy("rolled")
    (folder / "result.json").unlink()
    with (folder / "metrics.csv").open("a", newline="") as file:
        file.write("61,0.1")  # the row that is being written
    running, ended = read_history(folder), read_history(trained / "rolled")
    assert "still trains or was killed" in running.status
    assert running.now.rows == ended.now.rows
    assert [part.rollback for part in running.given_up] == [part.rollback for part in ended.given_up]


@pytest.mark.usefixtures("in_short")
def test_findings_are_told_and_shown(trained: Path, command: Command) -> None:
    folder = trained / "sick"
    code, printed, err = command(doctor, str(folder))
    assert code == 0, err
    lines = printed.splitlines()
    assert lines[0] == lines[-1] == f"run        {folder}"
    assert lines[-2] == f"page       {folder / 'doctor.html'}"
    shown = (folder / "doctor.html").read_text()
    for finding in found(read_history(folder)):
        words = f"{finding['detector']} after {finding['step']} generator updates: {finding['evidence']}"
        assert words in lines
        assert f'<b class="bad">{finding["detector"]}</b> after {finding["step"]} generator updates' in shown
        assert finding["evidence"] in shown


def test_the_page_shows_every_theme_with_its_alarms(trained: Path, sick_page: str) -> None:
    for theme in THEMES:
        if theme.title.startswith("Reconstructions"):  # of autoencoders
            continue
        assert f"<h2>{theme.title}</h2>" in sick_page
        assert theme.reading.replace("'", "&#39;") in sick_page
    for finding in found(read_history(trained / "sick")):
        assert sick_page.count(f">{finding['detector']}</text>") == sick_page.count("<svg ")  # a line in every figure
    assert "alarm at 0.5" in sick_page  # the run's own threshold
    assert not re.search(r'(src|href)="(?!#|data:|\.\.|/)', sick_page)  # nothing from elsewhere


def test_pictures_on_one_page_do_not_share_what_they_refer_to(sick_page: str) -> None:
    pictures = re.findall(r"<svg .*?</svg>", sick_page, re.DOTALL)
    assert len(pictures) > 15
    owner: dict[str, int] = {}
    for k, svg in enumerate(pictures):
        ids = re.findall(r' id="([^"]+)"', svg)
        for used in {*re.findall(r"url\(#([^)]+)\)", svg), *re.findall(r'href="#([^"]+)"', svg)}:
            assert used in ids
            assert owner.setdefault(used, k) == k


def test_a_theme_without_columns_is_left_out(copy: Any) -> None:
    folder = copy("healthy")
    drop_columns(folder / "metrics.csv", "singular_value/", "input_gradient/", "gradient", "logits", "loss", "rate")
    written = page(read_history(folder))
    shown = [theme.title for theme in THEMES if theme.title in written]
    assert [title.split(":")[0] for title in shown] == [
        "Signals",
        "Gradients",  # the update ratio is still there
        "Diversity",
        "Overfitting",
        "Scores",
    ]


@pytest.mark.usefixtures("in_short")
def test_other_thresholds_give_another_diagnosis(trained: Path, command: Command) -> None:
    healthy = str(trained / "healthy")
    code, printed, _ = command(doctor, healthy, "strict=true")
    assert (code, "Healthy: none of 8 detectors" in printed) == (0, True)
    thresholds = {"spread": "1e9", "patience": "2", "after": "10"}
    overrides = [f"detectors.generator_collapse.{name}={value}" for name, value in thresholds.items()]
    code, printed, _ = command(doctor, healthy, *overrides)
    assert code == 0
    assert "generator_collapse after 12 generator updates" in printed
    assert "detectors" not in (Run(healthy).stored_config() or {})  # the run stays as it was
    assert "generator_collapse.spread=1000000000.0" in (trained / "healthy" / "doctor.html").read_text()
    code, _, _ = command(doctor, healthy, *overrides, "strict=true")
    assert code == 1


@pytest.mark.usefixtures("in_short")
def test_several_runs_are_diagnosed_one_after_the_other(trained: Path, command: Command) -> None:
    code, printed, err = command(doctor, str(trained / "healthy"), str(trained / "diverged"))
    assert code == 0, err
    assert printed.count("diagnosis  ") == 2
    assert "not_finite after" in printed


@pytest.mark.usefixtures("in_short")
def test_a_run_that_did_not_measure_its_health_is_judged_by_what_it_logged(copy: Any, command: Command) -> None:
    folder = copy("healthy")
    edit(folder / "config.yaml", lambda config: config["callbacks"].pop("health"))
    drop_columns(
        folder / "metrics.csv", "gradient_p", "nonfinite", "update", "diversity", "input", "health", "singular"
    )
    command_line = [str(folder), "detectors.vanishing_gradients.norm=1e9"]
    code, printed, err = command(doctor, *command_line, "detectors.vanishing_gradients.patience=1")
    assert code == 0, err
    assert "vanishing_gradients after 60 generator updates: the largest gradient norm" in printed
    written = (folder / "doctor.html").read_text()
    assert "did not measure its health" in written
    assert "not judged: needs diversity/spread" in written


def test_gathered_readings_hold_the_largest_norm_in_between() -> None:
    rows = [{"step": float(k), "gradient_norm/generator": float(k % 4), "loss/generator": k} for k in range(2, 14, 2)]
    rows[-1]["gradient_norm/generator"] = float("nan")
    first, second, last = gathered(rows, 5)
    assert (first["step"], second["step"], last["step"]) == (4, 10, 12)
    assert (first["gradient_peak/generator"], second["gradient_peak/generator"]) == (2, 2)
    assert last["gradient_peak/generator"] != last["gradient_peak/generator"]  # NaN is no small norm
    assert second["loss/generator"] == 10


def test_bad_requests_get_a_sentence(trained: Path, copy: Any, command: Command) -> None:
    healthy, damaged = str(trained / "healthy"), copy("healthy")
    Path("empty").mkdir()
    (damaged / "metrics.csv").unlink()
    for arguments, message in (
        ([], "runs is not given"),
        (["nowhere"], "runs=nowhere holds no run"),
        (["empty"], "runs=empty holds no run"),
        ([str(damaged)], "has no metrics.csv with rows"),
        ([healthy, "detectors.generator_colapse.spread=1"], "did you mean generator_collapse"),
        ([healthy, "detectors.generator_collapse.spred=1"], "did you mean spread"),
        ([healthy, "detectors.generator_collapse.spread=wide"], "spread=wide is not a number"),
        ([healthy, "detectors.generator_collapse=1"], "names no threshold"),
        ([healthy, "strict=maybe"], "strict=maybe"),
        ([healthy, "sterict=true"], "did you mean strict"),
    ):
        code, _, err = command(doctor, *arguments)
        assert code == 2, arguments
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("columns", "measured", "message"),
    [
        (("gradient_peak", "health/"), True, "no reading of its health yet; the first one is taken after 2"),
        (("gradient", "logits", "diversity", "health", "nonfinite"), False, "no column that a detector reads"),
    ],
)
def test_a_run_with_nothing_to_judge_is_refused(
    copy: Any, columns: tuple[str, ...], measured: bool, message: str
) -> None:
    folder = copy("healthy")
    drop_columns(folder / "metrics.csv", *columns)
    if not measured:
        edit(folder / "config.yaml", lambda config: config["callbacks"].pop("health"))
    with pytest.raises(UserError, match=message):
        read_history(folder)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "os.system", "command": "touch ran"}, "not a detector that a config may name"),
        ({"_target_": "foreign.Detector"}, "not a detector that a config may name"),
        ({"_target_": "torch.nn.Identity"}, "not a detector that a config may name"),
        ({"spread": 1}, "not a detector"),
    ],
    ids=str,
)
def test_a_stored_config_runs_no_code(copy: Any, in_tmp: Path, node: dict[str, Any], message: str) -> None:
    folder = copy("healthy")
    edit(folder / "config.yaml", lambda config: config["callbacks"]["health"]["detectors"].update(mine=node))
    with pytest.raises(UserError, match=message):
        read_history(folder)
    assert not (in_tmp / "ran").exists()


def test_a_damaged_result_is_named(copy: Any) -> None:
    folder = copy("healthy")
    (folder / "result.json").write_text(json.dumps({"status": "diverged"})[:-1])
    with pytest.raises(UserError, match=r"result\.json holds no JSON"):
        read_history(folder)


def test_every_threshold_that_is_drawn_is_an_argument_of_its_detector() -> None:
    limits = [limit for theme in THEMES for panel in theme.panels for limit in getattr(panel, "limits", ())]
    assert (DiscriminatorWon, "d_signal") in limits
    for kind, argument in limits:
        assert isinstance(getattr(kind(), argument), float)


def test_numbers_beside_a_logarithmic_axis() -> None:
    values = (0, 0.05, -200, 1e7, -1e-5, 2e-6)
    assert [power(value) for value in values] == ["0", "0.05", "−200", "10⁷", "−10⁻⁵", "2·10⁻⁶"]
