"""What the machine has."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def memory_limit() -> int:
    """Bytes of memory that this machine, or the control group of a job or container, has."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        # "0::/path" is version 2; a container sees its own group as the root.
        groups = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
        group = next(line[3:] for line in groups if line.startswith("0::"))
        own = Path("/sys/fs/cgroup", group.strip("/"))
        for folder in (own, *own.parents):  # Slurm limits the job, above its steps and tasks
            if (file := folder / "memory.max").is_file() and (text := file.read_text("utf-8").strip()) != "max":
                limits.append(int(text))
    except (OSError, StopIteration, ValueError):  # not Linux, or version 1
        pass
    return min(limits)
