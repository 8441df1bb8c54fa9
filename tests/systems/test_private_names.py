"""The private names of other packages that the source relies on: each is listed here, and is there.

A failure after an upgrade says which name has moved; everything else of a library's is public and keeps its promises.
"""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from lightning import Trainer

#: by the dotted name that leads to it, what it is for
PRIVATE = {
    "hydra._internal.core_plugins.file_config_source.FileConfigSource": "reading config files with old names",
    "hydra._internal.sources_registry.SourcesRegistry": "having Hydra read config files so",
    "torch._foreach_mul_": "gradients of all weights times a number in one call",
    "torch._foreach_norm": "the norms of all weights in one call",
    "torch._foreach_div": "gradients relative to weights in one call",
    "torch._foreach_sub": "updates of all weights in one call",
    "torch._foreach_copy_": "averages of buffers, u and v of spectral normalisation, gradients of several processes",
    "torch._foreach_lerp_": "the moving average of all weights in one call",
    "torch._foreach_clamp_min_": "weight clipping in one call",
    "torch._foreach_clamp_max_": "weight clipping in one call",
    "torch._dynamo.config": "how often a forward is compiled anew, and what happens when it cannot be",
    "torch._dynamo.lookup_backend": "the compiler behind a forward, to catch what it raises",
    "torch._functorch.config": "compiling a backward with its forward, where a failure can be caught",
    "torch._inductor.list_mode_options": "what a mode of torch.compile stands for",
    "torch.cpu._is_avx512_bf16_supported": "whether bfloat16 is fast on this CPU",
    "torch.nn.modules.batchnorm._BatchNorm": "every kind of batch normalisation",
    "torch.nn.modules.conv._ConvTransposeNd": "every kind of transposed convolution",
    "torch.nn.utils.parametrize._cache_enabled": "whether a spectrally normalised weight may be computed once a step",
}
#: attributes of objects: where the source uses them, and an object that has them
OF_OBJECTS = {
    "config.hydra.overrides.task._content": "the overrides of a job without resolving them",
    "trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor": "a broadcast at each step that signals here do without",
}


def used() -> Iterator[str]:
    """Every private name of another package in the source, as it is written there."""
    for file in (ROOT / "src" / "adversaria").rglob("*.py"):
        for node in ast.walk(ast.parse(Path(file).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and not str(node.module).startswith("adversaria"):
                yield from (n for a in node.names if "._" in (n := f"{node.module}.{a.name}"))
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                written = ast.unparse(node)
                of_ours = written.split(".")[0] in ("self", "cls") or written[0].isupper()
                if not of_ours and node.attr != "_replace":  # public, of named tuples
                    yield written.replace("parametrize.", "torch.nn.utils.parametrize.")


def test_every_private_name_is_listed() -> None:
    listed = {*PRIVATE, *OF_OBJECTS}
    found = set(used())
    assert {name for name in found if not any(entry.startswith(name) for entry in listed)} == set()
    assert {entry for entry in listed if not any(entry.startswith(name) for name in found)} == set()


@pytest.mark.parametrize("name", PRIVATE)
def test_it_is_there(name: str) -> None:
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError) as error:
        pytest.fail(f"{name} has moved, which is used for {PRIVATE[name]}: {error}")


def test_those_of_objects_are_there() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=-1)
    assert hasattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor")
    count = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    before = count.total.completed
    count.increment_ready()
    count.increment_completed()
    assert (count.total.ready, count.total.completed) == (before + 1, before + 1)
