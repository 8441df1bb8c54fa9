"""Every part with every other: what composes trains, and what cannot is refused with a sentence.

A pairwise subset by default: each pair of choices of two groups occurs at least once. ``slow``: every generator with
every discriminator, and every loss with every regulariser and augmentation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from fitting import fitted

from adversaria.config.plain import conf_dir
from adversaria.core.errors import UserError

FACTORS = {
    group: sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))
    for group in ("generator", "discriminator", "loss", "regulariser", "augment")
}
Case = tuple[str, ...]


def pairwise(factors: dict[str, list[str]]) -> list[Case]:
    """Cases that cover every pair of values of two factors: each takes, greedily, the values with most new pairs."""
    names = list(factors)
    left = {
        ((a, x), (b, y))
        for (i, a), (j, b) in itertools.combinations(enumerate(names), 2)
        for x in factors[a]
        for y in factors[b]
    }
    cases = []
    while left:
        case = dict(min(left))
        for name in names:
            if name not in case:
                gains = {value: len(_pairs({**case, name: value}, names) & left) for value in factors[name]}
                case[name] = max(gains, key=lambda value: gains[value])
        left -= _pairs(case, names)
        cases.append(tuple(case[name] for name in names))
    return cases


def _pairs(case: dict[str, str], names: list[str]) -> set[Any]:
    return set(itertools.combinations([(name, case[name]) for name in names if name in case], 2))


def full() -> Iterable[Case]:
    """Every generator with every discriminator, and every loss with every regulariser and every augmentation."""
    generators, discriminators, *objectives = FACTORS.values()
    for g, d in itertools.product(generators, discriminators):
        yield (g, d, "nonsaturating", "none", "none")
    for objective in itertools.product(*objectives):
        yield ("dcgan", "sndcgan", *objective)


def try_case(one_update: Callable[..., Any], make_config: Callable[..., Any], case: Case) -> None:
    """The case trains to finite weights, or is refused with a sentence that says what to do."""
    settings = ("data.size=32", "data.batch_size=4", "metrics=none", "trainer.accelerator=cpu", "optim=adam")
    overrides = [*settings, *(f"{group}={value}" for group, value in zip(FACTORS, case, strict=True))]
    sentence, state = None, {}
    try:
        state = one_update(fitted(make_config(*overrides), width=8))
    except UserError as error:
        sentence = str(error)
    assert sentence is None or re.search(r"choose|set |leave|use |add |give|train with|raise|lower", sentence), sentence
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())


CASES = pairwise(FACTORS)


def test_the_subset_covers_every_pair() -> None:
    for (i, a), (j, b) in itertools.combinations(enumerate(FACTORS), 2):
        assert {(case[i], case[j]) for case in CASES} == set(itertools.product(FACTORS[a], FACTORS[b]))


@pytest.mark.parametrize("case", CASES, ids=["-".join(case) for case in CASES])
def test_pairwise(one_update: Callable[..., Any], make_config: Callable[..., Any], case: Case) -> None:
    try_case(one_update, make_config, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(full()), ids=["-".join(case) for case in full()])
def test_full(one_update: Callable[..., Any], make_config: Callable[..., Any], case: Case) -> None:
    try_case(one_update, make_config, case)
