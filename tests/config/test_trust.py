"""What files from elsewhere can make this package do: build parts of a model, and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import adversaria
from adversaria.cli import sample, train
from adversaria.config.admission import EVERYTHING, NESTED, PLACES, Kind, Trust
from adversaria.core.errors import UserError
from adversaria.training.callbacks import WarmStart

STORED = Path(__file__).parents[1] / "stored" / "dcgan" / "checkpoints" / "last.ckpt"

#: all that a stored config can name of this package, by the room and below ``adversaria.``
NAMEABLE = """
objectives: augment.ada.ADA augment.ada_colour.Colour augment.ada_corruption.Cutout augment.ada_corruption.Filter
    augment.ada_corruption.Noise augment.ada_geometry.Geometry augment.ada_geometry.Turn augment.diffaugment.Color
    augment.diffaugment.Cutout augment.diffaugment.DiffAugment augment.diffaugment.Translation
    augment.identity.Identity constraints.clipping.WeightClipping losses.adversarial.AdversarialLoss
    losses.functional.bce_d losses.functional.hinge_d losses.functional.hinge_g losses.functional.least_squares_d
    losses.functional.least_squares_g losses.functional.minimax_g losses.functional.nonsaturating_g
    losses.functional.relativistic_average_d losses.functional.relativistic_average_g
    losses.functional.relativistic_pairing_d losses.functional.relativistic_pairing_g losses.functional.wasserstein_d
    losses.functional.wasserstein_g reparametrisations.spectral_norm.SpectralNorm
    terms.auxiliary_classifier.AuxiliaryClassifier terms.consistency.Consistency terms.gradient.DRAGAN
    terms.gradient.GradientPenalty terms.gradient.R1 terms.gradient.R2 terms.instance_noise.ExpectedInstanceNoise
    terms.lecam.LeCam terms.mutual_information.MutualInformation terms.path_length.PathLength
    terms.reconstruction.Reconstruction terms.weights.OrthogonalRegularisation terms.weights.WeightDecay
modalities: image.Image masked.MaskedImage points.Points
recipes: stylegan2.StyleGAN2Auto
training: callbacks.checkpoint.Checkpoint callbacks.ema.EMA callbacks.evaluation.Evaluation
    callbacks.forecast.Forecast callbacks.guard.Guard callbacks.health.Health callbacks.profile.Profile
    callbacks.progress.Progress callbacks.samples.Samples callbacks.statistics.Statistics
    callbacks.warm_start.WarmStart loggers.CSV loggers.TensorBoard
data: images.folder.ImageData images.folder.ImageFolder images.given.ImageArrays images.named.CIFAR10
    images.named.CIFAR100 images.named.CelebA images.named.Digits images.named.FashionMNIST images.named.MNIST
    images.named.TorchvisionData images.sides.Domains images.sides.Pairs images.sides.TwoSides
    images.stacked.StackedMNIST module.DataModule
    synthetic.points.GaussianMixture synthetic.points.grid synthetic.points.ring
health: detectors.DiscriminatorOverfits detectors.DiscriminatorWon detectors.ExplodingGradients
    detectors.GeneratorCollapse detectors.NotFinite detectors.PosteriorCollapse detectors.ScoreDegrades
    detectors.VanishingGradients
nn: latents.Bernoulli latents.Normal latents.Sphere latents.TruncatedNormal latents.Uniform
    networks.biggan.BigGANDiscriminator networks.biggan.BigGANGenerator networks.dcgan.DCGANDiscriminator
    networks.dcgan.DCGANGenerator
    networks.encoder.ConvEncoder networks.mlp.MLPDiscriminator networks.mlp.MLPGenerator networks.r3gan.Block
    networks.r3gan.Downsample networks.editing_unet.EditingUNet
    networks.patchgan.PatchDiscriminator networks.r3gan.R3GANDiscriminator
    networks.r3gan.R3GANGenerator networks.r3gan.Upsample
    networks.residual_mlp.Block networks.residual_mlp.ResidualMLPDiscriminator
    networks.residual_mlp.ResidualMLPGenerator networks.residual_mlp.Trunk networks.resnet.ResNetDiscriminator
    networks.resnet.ResNetGenerator networks.sndcgan.SNDCGANDiscriminator networks.sndcgan.SNDCGANGenerator
    networks.stylegan2.DiscriminatorBlock networks.stylegan2.StyleGAN2Discriminator
    networks.stylegan2.StyleGAN2Generator networks.stylegan2.SynthesisBlock networks.stylegan2.SynthesisNetwork
    networks.unet.UNet
    wrappers.conditional.ClassNormGenerator wrappers.conditional.ClassifyingDiscriminator
    wrappers.conditional.ProjectedDiscriminator wrappers.infogan.CodeDiscriminator wrappers.infogan.InfoGANGenerator
    wrappers.mgan.BranchedLinear wrappers.mgan.MGANGenerator wrappers.mgan.MixtureGenerator
    wrappers.packing.PackedDiscriminator
features: classifier.ClassifierNetwork classifier.ResidualStage classifier_extractor.ClassifierExtractor
    fidelity.CLIPExtractor fidelity.DINOv2Extractor fidelity.FidelityExtractor fidelity.InceptionExtractor
    fidelity.VGG16Extractor
evaluation: memorisation.Memorisation metrics.feature_metrics.FeatureMetrics
    metrics.modes.ModeCoverage metrics.paired.PairedMetrics metrics.reconstruction.Reconstruction
    metrics.stacked_modes.StackedModes usefulness.Usefulness
systems: gan.GAN optim.Constant optim.CosineDecay optim.LazyAdam optim.LinearDecay optim.Optim
    pairing.colourise.Colourise pairing.deblur.Deblur pairing.denoise.Denoise pairing.edges.Edges
    pairing.inpaint.Inpaint pairing.jpeg.JPEG pairing.super_resolution.SuperResolution
    pix2pix.Pix2Pix regression.Regression vae.VAE vae_gan.VAEGAN
core: schedules.CosineRamp schedules.LinearRamp
"""


def nameable() -> set[str]:
    """`NAMEABLE` as full names."""
    room, names = "", set()
    for word in NAMEABLE.split():
        if word.endswith(":"):
            room = word[:-1]
        else:
            names.add(f"adversaria.{room}.{word}")
    return names


def every_callable() -> Iterator[str]:
    """Every name in every module of the package that leads to something that can be called."""
    for found in pkgutil.walk_packages(adversaria.__path__, "adversaria."):
        module = importlib.import_module(found.name)
        yield from (f"{found.name}.{name}" for name, value in vars(module).items() if callable(value))


def admitted(name: str, kinds: tuple[Kind, ...]) -> str | None:
    """Where what ``name`` leads to is at home, if a stored config may name it."""
    for partial in (False, True):
        try:
            target = Trust((), EVERYTHING).find(name, "x", kinds, partial=partial)
        except UserError:
            continue
        return f"{target.__module__}.{target.__qualname__}"
    return None


def test_of_all_that_can_be_called_a_stored_config_names_the_listed_alone() -> None:
    everywhere = tuple({*NESTED, *(kind for place in PLACES.values() for kind in place.kinds)})
    homes = {home for name in every_callable() if (home := admitted(name, everywhere)) is not None}
    assert {home for home in homes if home.startswith("adversaria.")} == nameable()
    others = {home for home in homes if not home.startswith(("adversaria.", "torch.nn.modules.", "torch.optim."))}
    assert others == {"lightning.pytorch.trainer.trainer.Trainer"}


def test_a_function_without_a_module_is_at_home_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "adversaria.objectives.losses.functional.hinge_d"
    assert admitted(name, NESTED) is not None
    monkeypatch.setattr(pkgutil.resolve_name(name), "__module__", None)
    assert admitted(name, NESTED) is None


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of the user's that nothing may touch."""
    path = tmp_path / "user" / "CANARY"
    path.parent.mkdir()
    path.write_text("untouched")
    return path


def hostile_parts(canary: Path) -> dict[str, dict[str, Any]]:
    """Changes of a config by what they would do: to build a node starts, writes, empties, deletes or reads."""
    where = str(canary)
    touch = f"{{_target_:subprocess.Popen,args:[touch,{where}2]}}"
    classifier = {
        "_target_": "adversaria.cli.train_classifier.run",
        "arguments": [f"out={where}.npz", "trust=[subprocess]", "data=digits", f"data.root={touch}"],
    }
    arrays = {
        "_target_": "adversaria.core.arrays.save_arrays",
        "path": {"_target_": "adversaria.core.files.cache_folder", "cache_dir": where},
        "arrays": {"x": [1]},
        "about": {},
    }
    folder = str(canary.parent)
    lightning = "lightning.pytorch"
    nodes = {
        "starts a program": classifier,
        "overwrites a file": arrays,
        "empties metrics": {"_target_": "adversaria.training.loggers.CSV", "run_dir": folder},
        "deletes a file": {"_target_": "adversaria.data.cache.record.forget", "rows": where},
        "makes folders": {"_target_": f"{lightning}.callbacks.ModelCheckpoint", "dirpath": f"{folder}/made"},
        "logs anywhere": {"_target_": f"{lightning}.loggers.CSVLogger", "save_dir": folder},
        "writes text": {"_target_": "adversaria.core.files.write_text", "path": where, "text": "x"},
        "appends": {"_target_": "adversaria.core.files.append", "path": where},
        "draws a page": {"_target_": "adversaria.reporting.doctor.page.write_page", "path": where},
        "trains a network": {"_target_": "adversaria.features.classifier_training.train", "data": None},
        "reads the environment": {"_target_": "adversaria.training.launch.launch"},
        "runs a command": {"_target_": "adversaria.training.launch.requeue", "run_dir": where},
        "loads a hub": {"_target_": "torch.hub.load", "repo_or_dir": folder, "source": "local", "model": "x"},
        "is a command": {"_target_": "adversaria.cli.train.main"},
    }
    changes: dict[str, dict[str, Any]] = {name: {"regulariser": {"x": node}} for name, node in nodes.items()}
    changes["hides in the prior"] = {"model": {"latent": nodes["overwrites a file"]}}
    changes["is the generator"] = {"model": {"generator": nodes["starts a program"]}}
    changes["hides in a width"] = {"model": {"generator": {"width": nodes["deletes a file"]}}}
    changes["is the loss"] = {"loss": {"d_loss": {**nodes["starts a program"], "_partial_": True}}}
    changes["is the augmentation"] = {"augment": nodes["empties metrics"]}
    changes["is the system"] = {"model": {"_target_": "adversaria.runs.folder.Run", "path": where}}
    return changes


def merged(config: Any, change: Any) -> Any:
    if isinstance(config, dict) and isinstance(change, dict) and "_target_" not in change:
        return {**config, **{key: merged(config.get(key), value) for key, value in change.items()}}
    return change


def ways(checkpoint: Path) -> dict[str, Callable[[], object]]:
    system = torch.nn.Module()
    return {
        "load": lambda: adversaria.load(checkpoint),
        "trusting load": lambda: adversaria.load(checkpoint, trust=["breaking"]),
        "warm start": lambda: WarmStart(checkpoint=str(checkpoint)).take(system),
    }


@pytest.mark.parametrize("what", hostile_parts(Path("x")))
def test_a_hostile_checkpoint_is_refused_before_anything_is_built(what: str, canary: Path, tmp_path: Path) -> None:
    content = torch.load(STORED, weights_only=True)
    checkpoint = tmp_path / "hostile.ckpt"
    torch.save({**content, "config": merged(content["config"], hostile_parts(canary)[what])}, checkpoint)
    before = sorted(tmp_path.rglob("*"))
    for way in ways(checkpoint).values():
        with pytest.raises(UserError, match=r"(regulariser\.x|model|loss|augment)[._]"):
            way()
    assert canary.read_text() == "untouched"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_says_the_same(
    canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(STORED, weights_only=True)
    change = hostile_parts(canary)["starts a program"]
    torch.save({**content, "config": merged(content["config"], change)}, tmp_path / "hostile.ckpt")
    monkeypatch.setattr("sys.argv", ["sample.py", f"checkpoint={tmp_path / 'hostile.ckpt'}"])
    assert sample.main() != 0
    assert "regulariser.x._target_=adversaria.cli.train_classifier.run is not a term" in capsys.readouterr().err
    assert [path.name for path in canary.parent.iterdir()] == ["CANARY"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("latent_dim", 10**9), ("width", 2**20), ("latent_dim", 17), ("width", 8), ("init_gain", 10**30)],
)
def test_a_config_that_asks_for_more_than_the_file_holds_takes_no_memory(key: str, value: int, tmp_path: Path) -> None:
    content = torch.load(STORED, weights_only=True)
    config = merged(content["config"], {"model": {"generator": {key: value}}})
    torch.save({**content, "config": config}, tmp_path / "huge.ckpt")
    with pytest.raises(UserError, match=r"do not fit the networks|model\.generator\."):
        adversaria.load(tmp_path / "huge.ckpt")


def test_what_no_sampler_needs_is_not_looked_at(tmp_path: Path) -> None:
    content = torch.load(STORED, weights_only=True)
    anything = {"_target_": "nobody.has.This"}
    config = {**content["config"], "data": anything, "callbacks": {"x": anything}, "logger": {"x": anything}}
    torch.save({**content, "config": {**config, "metrics": anything, "optim": anything}}, tmp_path / "other.ckpt")
    expected = adversaria.load(STORED).sample(4)
    assert torch.equal(adversaria.load(tmp_path / "other.ckpt").sample(4), expected)


def test_a_key_that_no_run_has_is_refused_and_not_ignored(tmp_path: Path) -> None:
    content = torch.load(STORED, weights_only=True)
    torch.save({**content, "config": {**content["config"], "modle": {}}}, tmp_path / "unknown.ckpt")
    for way in ways(tmp_path / "unknown.ckpt").values():
        with pytest.raises(UserError, match="modle is no key of a run's config; did you mean model"):
            way()


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder from elsewhere that has not ended, below the working directory."""
    folder = tmp_path / "outputs" / "dcgan"
    shutil.copytree(STORED.parents[1], folder)
    (folder / "result.json").unlink()  # which says that the run has ended
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", "run_dir=outputs/dcgan", "trainer.max_steps=9"])
    return folder


def assert_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The command refuses what the folder names, and touches nothing."""
    before = sorted(Path().rglob("*"))
    assert train.main() == 2
    said = capsys.readouterr().err
    assert "that a config may name here" in said or "another machine has written" in said
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    "line",
    [
        "+callbacks.x._target_=lightning.pytorch.callbacks.ModelCheckpoint",
        "+callbacks.x={_target_: lightning.pytorch.callbacks.Timer, duration: null}",
        "+logger.x._target_=lightning.pytorch.loggers.CSVLogger",
        "+penalty.x._target_=adversaria.core.arrays.save_arrays",  # an old name of the next
        "+regulariser.x._target_=adversaria.core.arrays.save_arrays",
        "loss.d_loss._target_=subprocess.Popen",
        "trainer._target_=adversaria.runs.folder.Run",
    ],
)
def test_a_run_folder_from_elsewhere_names_parts_of_models_alone(
    line: str, foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (foreign / "overrides.txt").open("a") as file:
        file.write(f"{line}\n")
    assert_refused(capsys)


@pytest.mark.parametrize(
    ("key", "node"),
    [
        ("callbacks.x", {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint"}),
        ("logger.x", {"_target_": "lightning.pytorch.loggers.CSVLogger"}),
        ("penalty.x", {"_target_": "adversaria.core.arrays.save_arrays"}),  # an old name of the next
        ("regulariser.x", {"_target_": "adversaria.core.arrays.save_arrays"}),
        ("loss.d_loss._target_", "subprocess.Popen"),
        ("trainer._target_", "adversaria.runs.folder.Run"),
        ("trainer.default_root_dir", "/home/somebody"),
        ("data.cache_dir", "/home/somebody"),
    ],
)
def test_the_config_of_a_run_folder_from_elsewhere_is_held_to_the_same(
    key: str, node: Any, foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((foreign / "config.yaml").read_text())
    *above, last = key.split(".")
    place = config
    for name in above:
        place = place.setdefault(name, {})
    place[last] = node
    (foreign / "config.yaml").write_text(yaml.safe_dump(config))
    assert_refused(capsys)


def test_what_is_typed_again_is_the_users_own_word(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = "+callbacks.x._target_=lightning.pytorch.callbacks.Timer"
    monkeypatch.setattr("sys.argv", ["train.py", "run_dir=outputs/dcgan", "trainer.max_steps=9", typed])
    assert train.main() == 2  # allowed, but it is another run then
    assert "was trained with another config (callbacks.x._target_" in capsys.readouterr().err
