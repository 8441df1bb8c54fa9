"""Config files as Hydra reads them, with what an earlier version called otherwise by its names of today.

Hydra follows a file's defaults list before anything of ours sees the config, so that ``override /<old group>`` has to
be read here. Keys of the file come by their new names into their place in the order of precedence as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydraFiles
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from adversaria.config import aliases

#: an entry of a defaults list: ``override /group@package``, ``optional group``, ``group/choice``
_ENTRY = re.compile(r"(?P<words>(?:(?:override|optional)\s+)*)(?P<root>/?)(?P<group>[^@]+)(?:@(?P<package>.+))?")


class FileConfigSource(HydraFiles):
    """Hydra's own source of ``file://``, where a group's folder and what its files say may have old names.

    Hydra leaves the first source of this name in its place, also in a process that a launcher starts.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        """A file, with its header, its defaults list and its keys as they are written today."""
        result = super().load_config(self._as_stored(config_path, super().is_config))
        if not aliases.RENAMED or not OmegaConf.is_dict(result.config):
            return result
        content: dict[str, Any] = aliases.with_current_references(OmegaConf.to_container(result.config))
        defaults = content.pop("defaults", None)
        package = result.header.get("package")
        if package is not None:
            result.header["package"] = aliases.current_key(package)
        if package == "_global_" or (package is None and "/" not in config_path):
            content = _swept_today(aliases.with_current_keys(content))
        if isinstance(defaults, list):
            content["defaults"] = [_entry_today(entry, within="/" in config_path) for entry in defaults]
        result.config = OmegaConf.create(content)
        return result

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder, by its new or its old name."""
        return super().is_group(self._as_stored(config_path, super().is_group))

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        return super().is_config(self._as_stored(config_path, super().is_config))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The choices of a group, those that lie below its old name included."""
        folders = filter(super().is_group, (config_path, *_formerly(config_path)))
        return sorted(
            {name for folder in folders for name in super(FileConfigSource, self).list(folder, results_filter)}
        )

    def _as_stored(self, path: str, is_there: Callable[[str], bool]) -> str:
        """Where a group or a file of today lies: below the group's old name where the new one has none."""
        return next(filter(is_there, (path, *_formerly(path))), path)


def read_by_us() -> None:
    """Makes Hydra read config files through `FileConfigSource`."""
    Plugins.instance()  # registers Hydra's own
    SourcesRegistry.instance().types["file"] = FileConfigSource


def _formerly(path: str) -> list[str]:
    """What a group or a file of today may be called in folders of an earlier version."""
    renamed = aliases.RENAMED.items()
    return [old + path[len(new) :] for old, new in renamed if path == new or path.startswith(f"{new}/")]


def _swept_today(content: dict[str, Any]) -> dict[str, Any]:
    """A file's content in which the keys of ``hydra.sweeper.params``, which are overrides, are those of today."""
    sweeper = _node(_node(content, "hydra"), "sweeper")
    if not (params := _node(sweeper, "params")):
        return content
    sweeper = {**sweeper, "params": {aliases.typed_today(str(key)): value for key, value in params.items()}}
    return {**content, "hydra": {**content["hydra"], "sweeper": sweeper}}


def _node(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping ``name`` of a mapping; an empty one where there is none."""
    return node if isinstance(node := tree.get(name), dict) else {}


def _entry_today(entry: Any, within: bool) -> Any:
    """An entry of a defaults list by the names of today.

    Args:
        entry: a name, or a group with its choice.
        within: whether the file lies in a group, where a group without a slash before it is one within that.
    """
    if isinstance(entry, dict):
        return {_entry_today(key, within): value for key, value in entry.items()}
    match = _ENTRY.fullmatch(entry) if isinstance(entry, str) else None
    if match is None:
        return entry
    group = match["group"] if within and not match["root"] else aliases.current_key(match["group"])
    package = "" if match["package"] is None else f"@{aliases.current_key(match['package'])}"
    return f"{match['words']}{match['root']}{group}{package}"
