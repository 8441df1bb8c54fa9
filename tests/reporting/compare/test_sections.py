"""Which runs may be averaged, which scores may stand in one column, and what things are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adversaria.core.errors import UserError
from adversaria.reporting.compare import find_runs, make_sections, read_runs, tables, words
from adversaria.reporting.compare.names import group_choices, name_settings
from adversaria.reporting.compare.sections import Section

MakeRun = Callable[..., Path]
FID = "classifier_fid10k"


def sections_in(folder: Path, *, strict: bool = False) -> list[Section]:
    records, warnings = read_runs(find_runs([str(folder)]))
    assert warnings == []
    return make_sections(records, strict=strict)


def test_seeds_are_averaged_and_nothing_else(make_run: MakeRun, tmp_path: Path) -> None:
    for seed, value in ((1, 4.0), (2, 5.0), (3, 9.0)):
        make_run(f"a{seed}", overrides=["loss=hinge", f"seed={seed}", f"sweep_name.x={seed}"], curve=[20.0, value])
    make_run("b", overrides=["loss=minimax", "seed=1"], curve=[20.0, 30.0])
    (section,) = sections_in(tmp_path)
    hinge, minimax = section.configurations
    assert (hinge.name, minimax.name) == ("loss=hinge", "loss=minimax")
    assert hinge.final(FID).values == (4.0, 5.0, 9.0)
    assert [run.seed for run in hinge.runs] == [1, 2, 3]
    assert minimax.at_best(FID).values == (20.0,)  # it became worse after


def test_a_seed_of_the_data_chosen_for_itself_is_a_choice(make_run: MakeRun, tmp_path: Path) -> None:
    for name, tree in (("a", {"seed": 1, "data": {"seed": 1}}), ("b", {"seed": 2, "data": {"seed": 7}})):
        (make_run(name) / "config.yaml").write_text(json.dumps(tree))
    (section,) = sections_in(tmp_path)
    assert len(section.configurations) == 2


def test_runs_that_did_not_end_well_are_counted_and_not_averaged(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("1", overrides=["seed=1"], curve=[9.0, 4.0])
    make_run("2", overrides=["seed=2"], curve=[9.0, 400.0], status="diverged")
    make_run("3", overrides=["seed=3"], curve=[9.0, 40.0], status="stopped")
    make_run("4", overrides=["seed=4"], curve=[9.0, 2.0], rollbacks=3)
    make_run("5", overrides=["seed=5"], curve=[], status="diverged")  # before anything was scored
    (section,) = sections_in(tmp_path)
    rolled_back, untouched = section.configurations
    assert rolled_back.name.endswith("(rolled back)")
    assert rolled_back.final(FID).values == (2.0,)
    assert untouched.final(FID).values == (4.0,)
    n = tables.quality(section).rows[1][1]
    assert (n.text, n.note) == ("1", "1 stopped, 2 diverged")
    table = tables.stability(section)
    counts = dict(zip(table.columns, [cell.text for cell in table.rows[1]], strict=True))
    assert [counts[head] for head in ("runs", "finished", "stopped", "diverged", "rolled back")] == [*"41120"]
    assert counts["largest gradient norm"] == "3.500"
    assert counts["last − best"] == "0"


def test_what_did_not_finish_has_a_cost_and_no_score(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", overrides=["loss=a"], status="diverged", images_per_second=500.0)
    make_run("b1", overrides=["loss=b", "seed=1"], images_per_second=400.0)
    make_run("b2", overrides=["loss=b", "seed=2"], images_per_second=900.0, status="stopped")
    (section,) = sections_in(tmp_path)
    quality, cost = ({row[0].text: row for row in make(section).rows} for make in (tables.quality, tables.cost))
    assert [quality[name][2].text for name in ("loss=a", "loss=b")] == ["–", "6"]
    assert [cost[name][1].text for name in ("loss=a", "loss=b")] == ["500", "400"]
    assert [cost[name][2].text for name in ("loss=a", "loss=b")] == ["2", "2.500"]
    assert cost["loss=a"][3].text == "1.07 M"


def test_different_fingerprints_never_share_a_table(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", fingerprint={"reference_count": 10_000, "fakes": 500})
    make_run("b", fingerprint={"fakes": 500, "reference_count": 60_000})
    make_run("c", fingerprint={"fakes": 500, "reference_count": 10_000})  # the order of keys is nothing
    make_run("d", overrides=["model=vae"], curve=[])
    first, second, without = sections_in(tmp_path)
    assert [run.path.name for run in first.runs] == ["a", "c"]
    assert [run.path.name for run in second.runs] == ["b"]
    assert [run.path.name for run in without.runs] == ["d"]
    assert [section.letter for section in (first, second, without)] == ["A", "B", "C"]
    assert "reference_count: 10000 against 60000" in words.different_ways([first, second, without])
    assert "fakes" not in words.different_ways([first, second, without])
    assert without.monitor is None
    with pytest.raises(UserError, match="reference_count: 10000 against 60000"):
        sections_in(tmp_path, strict=True)


def test_strict_takes_runs_scored_alike(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a")
    make_run("b", overrides=["model=vae"], curve=[])
    assert len(sections_in(tmp_path, strict=True)) == 2


@pytest.mark.parametrize(
    ("score", "values", "best"),
    [(FID, (3.0, 9.0), "x=0"), ("classifier_is10k", (3.0, 9.0), "x=1"), ("modes_covered", (8.0, 7.0), "x=0")],
)
def test_the_best_is_the_lowest_or_the_highest(
    make_run: MakeRun, tmp_path: Path, score: str, values: tuple[float, float], best: str
) -> None:
    for i, value in enumerate(values):
        make_run(str(i), overrides=[f"x={i}"], score=score, curve=[5.0, value])
    (section,) = sections_in(tmp_path)
    chosen = section.best(score)
    assert chosen is section.configurations[0]
    assert chosen.name.replace("._target_", "") == best


def test_the_direction_of_an_unknown_score_shows_in_its_best_value(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", score="sharpness", curve=[1.0, 7.0, 3.0], best={"name": "sharpness", "value": 7.0, "step": 2000})
    (section,) = sections_in(tmp_path)
    assert section.direction("sharpness") == 1
    assert section.direction("other") == 0


def test_marks_follow_welch(make_run: MakeRun, tmp_path: Path) -> None:
    for loss, values in (("a", (4.0, 4.2, 4.1)), ("b", (4.1, 4.3, 4.2)), ("c", (9.0, 9.1, 9.2)), ("d", (4.15,))):
        for seed, value in enumerate(values):
            make_run(f"{loss}{seed}", overrides=[f"loss={loss}", f"seed={seed}"], curve=[50.0, value])
    (section,) = sections_in(tmp_path)
    rows = {row[0].text: row[2] for row in tables.quality(section).rows}
    assert {name: cell.mark for name, cell in rows.items()} == {
        "loss=a": "best",
        "loss=b": "tie",
        "loss=c": "",
        "loss=d": "unknown",
    }
    assert rows["loss=a"].text == "4.10 ± 0.25"
    assert rows["loss=d"].text == "4.150"
    sentence = words.summary(section)
    assert sentence.startswith("Best: loss=a, classifier_fid10k 4.10 ± 0.25 (n = 3)")
    for part in ("1 other is worse", "1 other is within seed noise", "1 other has too few seeds"):
        assert part in sentence


def test_two_swept_groups_make_a_matrix(make_run: MakeRun, tmp_path: Path) -> None:
    value = {("mlp", "mlp"): 9.0, ("mlp", "dcgan"): 7.0, ("dcgan", "mlp"): 8.0, ("dcgan", "dcgan"): 5.0}
    for (g, d), v in value.items():
        make_run(f"{g}-{d}", overrides=[f"generator={g}", f"discriminator={d}"], curve=[20.0, v])
    (section,) = sections_in(tmp_path)
    matrix = tables.matrix(section)
    assert matrix is not None
    assert matrix.columns[1:] == ("dcgan", "mlp")
    assert [[cell.text for cell in row] for row in matrix.rows] == [["dcgan", "5", "8"], ["mlp", "7", "9"]]
    assert [[cell.shade for cell in row[1:]] for row in matrix.rows] == [[1.0, 0.25], [0.5, 0.0]]


def test_no_matrix_of_a_few_pairs_or_of_one_group(make_run: MakeRun, tmp_path: Path) -> None:
    for i in range(3):
        make_run(str(i), overrides=[f"generator=g{i}", f"discriminator=d{i}"])
    (section,) = sections_in(tmp_path)
    assert tables.matrix(section) is None


def test_names_hold_what_differs_and_no_more() -> None:
    dcgan = {"model._target_": "a.GAN", "model.generator._target_": "a.DCGAN", "model.generator.width": 64, "lr": 1e-3}
    sndcgan = {**dcgan, "model.generator._target_": "a.SNDCGAN", "model.generator.width": 32}
    faster = {**dcgan, "lr": 2e-3}
    named = name_settings([dcgan, sndcgan, faster], [["model=dcgan"], ["model=sndcgan"], ["model=dcgan", "lr=2e-3"]])
    assert named == [
        {"model": "dcgan", "lr": "0.001"},
        {"model": "sndcgan", "lr": "0.001"},
        {"model": "dcgan", "lr": "0.002"},
    ]
    # without overrides the class says it, and the width goes with the class
    assert name_settings([dcgan, sndcgan], [[], []]) == [
        {"model.generator._target_": "DCGAN"},
        {"model.generator._target_": "SNDCGAN"},
    ]


def test_choices_that_nobody_typed_come_from_conf() -> None:
    assert group_choices([])["model"] == "dcgan"
    assert group_choices([])["loss"] == "nonsaturating"
    assert group_choices(["model=sndcgan"])["loss"] == "hinge"
    assert group_choices(["model=sndcgan", "loss=minimax"])["loss"] == "minimax"
    assert group_choices(["experiment=sndcgan_cifar10"])["data"] == "cifar10"
    assert group_choices(["experiment=sndcgan_cifar10"])["loss"] == "hinge"
    assert "lr" not in group_choices(["lr=3"])


def test_the_typed_and_the_default_choice_are_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("a", overrides=["seed=1"], config={"model": {"_target_": "dcgan"}})
    make_run("b", overrides=["model=dcgan", "seed=2"])
    make_run("c", overrides=["model=mlp", "seed=1"])
    (section,) = sections_in(tmp_path)
    assert {c.name: len(c.runs) for c in section.configurations} == {"model=dcgan": 2, "model=mlp": 1}


def test_a_model_has_nothing_to_add_to_its_networks() -> None:
    pairs = [(g, d) for g in ("mlp", "dcgan") for d in ("mlp", "dcgan")]
    configs = [{"model.generator._target_": g, "model.discriminator._target_": d} for g, d in pairs]
    overrides = [
        ["model=mlp"] if (g, d) == ("mlp", "mlp") else [f"generator={g}", f"discriminator={d}"] for g, d in pairs
    ]
    assert name_settings(configs, overrides) == [{"generator": g, "discriminator": d} for g, d in pairs]


def test_a_choice_that_goes_with_another_is_named_with_it() -> None:
    configs, overrides = [], []
    for model, width in (("mlp", 256), ("dcgan", 16)):
        for loss, regulariser in (("hinge", "none"), ("wasserstein", "gradient_penalty")):
            terms = (
                {"regulariser": {}}
                if regulariser == "none"
                else {"regulariser.gradient_penalty._target_": "GradientPenalty"}
            )
            configs.append({"model.width": width, "model._target_": model, "loss._target_": loss, **terms})
            typed = [] if regulariser == "none" else [f"regulariser={regulariser}"]
            overrides.append([f"model={model}", f"loss={loss}", *typed, f"model.width={width}"])
    gradient_penalty = "wasserstein, regulariser=gradient_penalty"
    assert name_settings(configs, overrides) == [
        {"model": "mlp", "loss": "hinge"},
        {"model": "mlp", "loss": gradient_penalty},
        {"model": "dcgan", "loss": "hinge"},
        {"model": "dcgan", "loss": gradient_penalty},
    ]


def test_flops_that_nobody_counted_are_unknown(make_run: MakeRun, tmp_path: Path) -> None:
    cost = {"parameters": {"generator": 10}, "flops": {"generator": None}}
    make_run("a", cost=cost)
    (section,) = sections_in(tmp_path)
    table = tables.cost(section)
    assert table.rows[0][table.columns.index("generator FLOPs")].text == "unknown"
