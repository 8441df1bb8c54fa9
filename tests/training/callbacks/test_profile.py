"""`debug=profile` writes a trace in the format that Perfetto reads."""

from __future__ import annotations

import json
from collections.abc import Callable

from adversaria.runs.folder import Run

#: of the Trace Event Format: complete, instant, metadata, counter, flow and asynchronous events
PHASES = set("XBEiIMCstfbnePNODSTFv")


def test_a_trace_of_the_steps_asked_for(train_run: Callable[..., Run], tiny: tuple[str, ...]) -> None:
    run = train_run(
        "run", *tiny, "debug=profile", "trainer.max_steps=5", "callbacks.profile.skip=1", "callbacks.profile.steps=2"
    )
    trace = json.loads((run.path / "profile" / "trace.json").read_text())
    events = trace["traceEvents"]
    assert trace["displayTimeUnit"] in ("ms", "ns")
    assert {event["ph"] for event in events} <= PHASES
    complete = [event for event in events if event["ph"] == "X"]
    assert all(event["ts"] >= 0 and event["dur"] >= 0 and {"pid", "tid", "name"} <= set(event) for event in complete)
    names = [event["name"] for event in complete]
    # one step of D and one of G each
    assert names.count("aten::_fused_adam_") == 2 * 2
    assert "aten::_fused_adam_" in (run.path / "profile" / "operations.txt").read_text()
