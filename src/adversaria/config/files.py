"""Config files as Hydra reads them, with what an earlier version called otherwise by its names of today.

Hydra follows a file's defaults list before anything of ours sees the config, so that ``override /<old group>`` has to
be read here. Keys of the file come by their new names into their place in the order of precedence as well.
"""

from __future__ import annotations

import re
from pathlib import Path
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
        result = super().load_config(self._as_stored(config_path, ".yaml"))
        if not aliases.RENAMED or not OmegaConf.is_dict(result.config):
            return result
        content: dict[str, Any] = OmegaConf.to_container(result.config)  # type: ignore[assignment]
        defaults = content.pop("defaults", None)
        package = result.header.get("package")
        if package is not None:
            result.header["package"] = aliases.current_key(package)
        if package == "_global_" or (package is None and "/" not in config_path):
            content = aliases.with_current_keys(content)
        if isinstance(defaults, list):
            content["defaults"] = [_entry_today(entry) for entry in defaults]
        result.config = OmegaConf.create(content)
        return result

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder, by its new or its old name."""
        return super().is_group(self._as_stored(config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        return super().is_config(self._as_stored(config_path, ".yaml"))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The choices of a group."""
        return super().list(self._as_stored(config_path), results_filter)

    def _as_stored(self, path: str, suffix: str = "") -> str:
        """Where a group or a file of today lies: below the group's old name where the new one has none."""
        for old, new in aliases.RENAMED.items():
            if (path == new or path.startswith(f"{new}/")) and not (Path(self.path) / f"{path}{suffix}").exists():
                return old + path[len(new) :]
        return path


def read_by_us() -> None:
    """Makes Hydra read config files through `FileConfigSource`."""
    Plugins.instance()  # registers Hydra's own
    SourcesRegistry.instance().types["file"] = FileConfigSource


def _entry_today(entry: Any) -> Any:
    """An entry of a defaults list by the names of today."""
    if isinstance(entry, dict):
        return {_entry_today(key): value for key, value in entry.items()}
    match = _ENTRY.fullmatch(entry) if isinstance(entry, str) else None
    if match is None:
        return entry
    package = "" if match["package"] is None else f"@{aliases.current_key(match['package'])}"
    return f"{match['words']}{match['root']}{aliases.current_key(match['group'])}{package}"
