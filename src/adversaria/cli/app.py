"""What the commands share: Hydra composes, we run; whatever the user can put right is one sentence, without traceback.

torch is imported inside the jobs only, so that ``--help``, ``--cfg job`` and a mistyped override answer at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adversaria.cli import arguments
from adversaria.cli.sweep import STOPPED, JobFailed, Sweep, SweepStopped
from adversaria.cli.utf8 import escape_on_screen, use_utf8
from adversaria.config.aliases import up_to_date
from adversaria.config.blame import of_circumstances, told
from adversaria.config.fields import check_choices, refuse_doubles
from adversaria.config.files import read_by_us
from adversaria.config.plain import Plain, conf_dir, flatten, near, without_absent_callbacks
from adversaria.core.errors import UserError
from adversaria.core.text import shown

log = logging.getLogger("adversaria")

Job = Callable[[Plain], int]
#: from a command line to what Hydra is given, and the folder of its primary config
Completion = Callable[[list[str]], AbstractContextManager[tuple[list[str], Path]]]

#: optional dependencies that bring launchers whose names begin alike
_EXTRAS = ("joblib", "submitit")
#: what Hydra says of a command line, and how that is put here
_SAID = {
    r"An item is already at '([^']+)'": "{0} is there already; leave out the +, as in {0}=...",
    r"(\w+) appears more than once in the final defaults list": "{0} has a choice already; leave out the +",
    r"Could not delete from config\. '([^']+)' does not exist": "{0} is not there; leave ~{0} out of the command",
    r"Cannot find primary config '([^']+)'": "--config-name={0} does not exist; leave it out",
    r"Config group override must be a string or a list\. Got (\w+)": "a group's choice is a name, not a {0}",
}


def completing(complete: Callable[[list[str]], list[str]]) -> Completion:
    """Completes a command line for a config of ``conf/``: ``complete`` gives the arguments as they are meant."""

    @contextlib.contextmanager
    def completed(given: list[str]) -> Iterator[tuple[list[str], Path]]:
        yield complete(given), conf_dir()

    return completed


#: arguments as they were typed
as_typed = completing(list)


def run(config_name: str, job: Job, completion: Completion = as_typed) -> int:
    """Composes ``config_name`` with the command line and runs ``job`` once, or once for each job of a sweep.

    Args:
        config_name: of the file in ``conf/``.
        job: returns its exit code.
        completion: the arguments as they are meant, from those that were typed, and the folder of ``config_name``.

    Returns:
        The exit code: 0, that of the last job that failed, 2 for what the user can put right before anything runs.
    """
    use_utf8()
    _quieten()
    codes: list[int] = []
    traced = os.environ.get("HYDRA_FULL_ERROR") == "1"
    with _answering(codes, traced), contextlib.ExitStack() as inside:
        with told({}):
            sys.argv[1:], folder = inside.enter_context(completion(sys.argv[1:]))
            sys.argv[1:] = arguments.typed_today(arguments.choices_first(sys.argv[1:]))
            arguments.check(sys.argv[1:])
            check_choices(config_name, arguments.choices(sys.argv[1:]))
        inside.enter_context(_hydra(config_name, codes, traced))

        @hydra.main(version_base="1.3", config_path=str(folder), config_name=config_name)
        def composed(config: DictConfig) -> None:
            sweep = Sweep.current
            assert sweep is not None  # Hydra has called it before the job
            codes.append(1)
            with _job(codes, sweep, traced) as begins:
                if begins:
                    refuse_doubles(overrides_of_job())
                    resolved = plain(config)
                    with told(resolved):
                        codes[-1] = job(resolved)
            sweep.leave(codes[-1])

        composed()
    return next((code for code in reversed(codes) if code), 0)


@contextlib.contextmanager
def _answering(codes: list[int], traced: bool) -> Iterator[None]:
    """What the user can put right becomes one sentence and a code; ``traced``: a traceback instead."""
    try:
        yield
    except UserError as error:
        if traced:
            raise
        print(f"error: {error}", file=sys.stderr)
        codes.append(error.exit_code)


@contextlib.contextmanager
def _hydra(config_name: str, codes: list[int], traced: bool) -> Iterator[None]:
    """The block in which Hydra composes and calls jobs; what it raises itself becomes a `UserError`."""
    read_by_us()
    Sweep.reset()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    try:
        yield
    except SweepStopped:
        codes[:] = [STOPPED]
    except JobFailed as failed:
        codes.append(failed.code)
    except Exception as error:
        # Before any job it is Hydra that raises, whatever the class; what a job raises is a mistake of ours.
        if codes:
            raise
        codes.append(UserError.exit_code)
        raise UserError(explain(error, config_name)) from error
    except KeyboardInterrupt:
        if Sweep.current:
            Sweep.current.discard()
        print("interrupted", file=sys.stderr)
        codes[:] = [130]
    finally:
        if not traced:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if Sweep.current:
            if set(codes) == {UserError.exit_code}:  # every job was refused before it began
                Sweep.current.discard()
            Sweep.current.summarise()


def overrides_of_job() -> list[str]:
    """The overrides of the job that Hydra has just composed, as they were typed: interpolations stay text."""
    overrides: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
    return overrides


def compose(*overrides: str, folder: Path | None = None, config_dir: str | Path | None = None) -> Plain:
    """The resolved config of ``python train.py <overrides>``, composed beside a command that runs.

    Args:
        overrides: as on the command line.
        folder: of the primary config ``train``; None: ``conf/``.
        config_dir: a folder with further choices, as ``--config-dir`` on the command line.

    Raises:
        UserError: Hydra cannot read an override, no config has a place for it, or a value is missing or refers to one
            that does not exist.
    """
    overrides = tuple(arguments.typed_today(overrides))
    arguments.check(overrides)
    check_choices("train", overrides)
    read_by_us()
    further = []
    if config_dir is not None:
        own = [Path(config_dir).expanduser().resolve()]
        # the primary config of a run that goes on searches conf/ by itself, which the override replaces
        further = [searching(*(own if folder is None else [conf_dir(), *own]))]
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(folder or conf_dir()), job_name="train", version_base="1.3"):
            composed = hydra.compose("train", [*overrides, *further])
    except Exception as error:  # Hydra's own, whatever the class
        raise UserError(explain(error, "train")) from error
    finally:
        GlobalHydra.instance().hydra = running
    refuse_doubles(overrides)
    config = plain(composed)
    config.pop("hydra", None)
    return config


def searching(*places: str | Path) -> str:
    """The override that has Hydra look for configs in these folders, besides that of the primary config."""
    quoted = (QuotedString(f"file://{place}", Quote.single).with_quotes() for place in places)
    return f"hydra.searchpath=[{','.join(quoted)}]"


def plain(config: DictConfig) -> Plain:
    """The config as resolved plain containers.

    Raises:
        UserError: a value is missing or refers to one that does not exist.
    """
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise UserError(f"{missing[0]} is not given; add {missing[0]}=... to the command")
        resolved: Plain = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        raise UserError(f"{where}{_first_lines(error)}") from error
    return without_absent_callbacks(up_to_date(resolved))


def explain(error: Exception, config_name: str) -> str:
    """One sentence for what Hydra says about a command line, with the near choices."""
    if said := of_circumstances(error, {}):
        return said
    message = str(error)
    if match := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':\n((?:\t.*\n?)*)", message):
        path, group, listed = match.groups()
        choices = listed.split()
        name = path.removeprefix(f"{group}/")
        if extra := next((extra for extra in _EXTRAS if group == "hydra/launcher" and name.startswith(extra)), None):
            return f"{group}={name} is not installed; it comes with pip install 'adversaria[{extra}]'"
        return f"{group}={name} does not exist{near(name, choices)}; choices are {', '.join(choices)}"
    for pattern, sentence in _SAID.items():
        if match := re.search(pattern, message):
            return sentence.format(*map(shown, match.groups()))
    if match := re.search(r"Could not load '(\w+)/([^']+)'", message):
        group, name = match.groups()
        names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        return f"{group}={shown(name)} does not exist{near(name, names)}; choices are {', '.join(names)}"
    key = re.search(r"Could not (?:override|append)[^']*'([^']+)'|Key '([^']+)' is not in struct", message)
    if key:
        name = next(filter(None, key.groups())).split("@")[0]
        return f"{name} is not a key or group of {config_name}.yaml{near(name, _keys(config_name))}"
    return _first_lines(error)


@contextlib.contextmanager
def _job(codes: list[int], sweep: Sweep, traced: bool) -> Iterator[bool]:
    """One job, whose code is the last of ``codes``; yields whether it begins, which it does not after a stop.

    A job of a sweep in a process that a launcher has started says itself what it has to say.
    """
    prefix = ""
    if sweep.elsewhere:
        prefix = f"[{sweep.cell(overrides_of_job())}] "
        _quieten(prefix)
        if Sweep.stopping:
            codes[-1] = STOPPED
            yield False
            return
        sweep.enter(HydraConfig.get().job.num)
    try:
        yield True
    except UserError as error:
        if traced and not sweep.elsewhere:
            raise
        print(f"{prefix}error: {error}", file=sys.stderr)
        codes[-1] = error.exit_code
    except KeyboardInterrupt:
        if not sweep.elsewhere:
            raise
        codes[-1] = STOPPED
    except Exception:
        if not sweep.elsewhere:
            raise
        traceback.print_exc()


def _keys(config_name: str) -> Iterable[str]:
    """Every key and group that a command line may name."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = OmegaConf.to_container(hydra.compose(config_name))
    groups = [folder.name for folder in conf_dir().iterdir() if folder.is_dir()]
    return [*flatten(composed), *groups]  # type: ignore[arg-type]


def _first_lines(error: Exception) -> str:
    """The message in one line, without what only helps those who write configs."""
    lines = [line.strip() for line in str(error).splitlines()]
    noise = (
        "search path",
        "provider=",
        "full_key",
        "object_type",
        "reference_type",
        "Set the environment",
        "To append",
        "See https",
    )
    said = "; ".join(line for line in lines if line and not any(word in line for word in noise))
    return re.sub(r"^\w+ raised while resolving interpolation: ", "", said) or type(error).__name__


def _quieten(prefix: str = "") -> None:
    """Our messages plain on the screen, after ``prefix``; of Lightning's and torch's the ones a user can act on."""
    escape_on_screen()
    if not log.handlers:
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.setLevel(logging.INFO)
        log.propagate = False
    log.handlers[0].setFormatter(logging.Formatter(f"{prefix}%(message)s"))
    for pattern in (
        ".*does not have many workers.*",
        ".*treespec.*",
        ".*Checkpoint directory.*",
        ".*log_every_n_steps.*",
    ):
        warnings.filterwarnings("ignore", message=pattern)
    warnings.filterwarnings("ignore", category=FutureWarning)
