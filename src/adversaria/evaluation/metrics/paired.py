"""Scores of edits whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from adversaria.core.errors import UserError
from adversaria.core.files import cache_folder
from adversaria.core.ranges import Count
from adversaria.core.ranks import from_rank_zero, is_rank_zero
from adversaria.core.types import BLOCK, DataSpec, Draw, DrawsEdits
from adversaria.evaluation.metrics.frechet import RunningGaussian, frechet_distance, symmetric_root
from adversaria.evaluation.metrics.pictures import detail, mae, psnr, ssim
from adversaria.evaluation.protocol import Scores
from adversaria.features.extraction import embed, gather_rows, images_of, make_ready, untouched_rng
from adversaria.features.extractor import Extractor

if TYPE_CHECKING:
    from adversaria.data.module import DataModule

#: columns of what is measured of each picture and then averaged
_COLUMNS = ("psnr", "ssim", "mae", "detail")
_HOLE = ("psnr_unknown", "mae_unknown")


class PairedMetrics:
    """Compares edits with their answers, of the test split where there is one, as pictures of 8 bits.

    - ``psnr`` (dB), ``ssim``, ``mae`` (steps of 8 bits): means over pictures, see
      `adversaria.evaluation.metrics.pictures`; ``psnr_unknown`` and ``mae_unknown`` within what was not known, where
      the condition says what that is;
    - ``sharpness``: mean absolute Laplacian over that of the answers, 1 is right; it rises with noise as well;
    - ``answers_fid``: Fréchet distance of the edits' features from those of their answers, with an extractor alone.

    Each stands once more with ``input_`` before it: what doing nothing would score, where what is given is a picture of
    the answers' size. The number of edits belongs to the name of the Fréchet distance alone, for it is biased by it.

    Args:
        count: number of edits; fewer where there are fewer answers.
        extractor: for the Fréchet distance, see `adversaria.features.extractor.Extractor`; None: none is computed.
        batch_size: of the edits, a multiple of 64.
        monitor: ``psnr``, ``ssim``, ``mae`` or ``answers_fid``, by which the best checkpoint is kept.
        cache_dir: for trained extractors; None: ``$ADVERSARIA_CACHE`` or ``~/.cache/adversaria``.

    Raises:
        UserError: a value out of range, or ``monitor`` needs an extractor.
    """

    def __init__(
        self,
        *,
        count: Count = 500,
        extractor: Extractor | None = None,
        batch_size: Count = 256,
        monitor: Literal["psnr", "ssim", "mae", "answers_fid"] = "psnr",
        cache_dir: str | None = None,
    ) -> None:
        if batch_size < BLOCK or batch_size % BLOCK:
            raise UserError(f"metrics.paired.batch_size={batch_size} is not a multiple of {BLOCK}; choose one")
        if monitor == "answers_fid" and extractor is None:
            raise UserError("metrics.paired.monitor=answers_fid needs an extractor; give one, or choose psnr")
        self.count, self.extractor, self.batch_size, self._monitor = count, extractor, batch_size, monitor
        self.cache_dir = cache_folder(cache_dir)
        self._data: DataModule | None = None

    @property
    def monitor(self) -> str:
        """The score that was chosen."""
        return self._fid() if self._monitor == "answers_fid" else self._monitor

    @property
    def mode(self) -> Literal["min", "max"]:
        """Larger is better of PSNR and SSIM."""
        return "max" if self._monitor in ("psnr", "ssim") else "min"

    def prepare(self, data: DataModule, device: torch.device) -> None:
        """Loads (or trains) the extractor.

        Raises:
            UserError: the answers are no images, or belong to nothing that is given.
        """
        if data.spec.image_shape is None or not data.loaded.aligned:
            raise UserError(
                f"metrics=paired compares edits with their answers, which data={data.name} has none of; choose another "
                "metrics, or metrics=none"
            )
        if self.extractor is not None:
            with untouched_rng(device):
                make_ready(self.extractor, data, device, self.cache_dir)
        self._data = data

    def evaluate(self, draw: Draw, device: torch.device) -> dict[str, float]:
        """See the class, and `adversaria.evaluation.protocol.Metrics.evaluate`.

        Raises:
            UserError: what is drawn edits nothing.
        """
        condition = draw.condition if isinstance(draw, DrawsEdits) else None
        if condition is None:
            raise UserError("metrics=paired scores edits, and this model draws samples; choose metrics=classifier")
        with untouched_rng(device):
            count = self._count()
            table = gather_rows(
                lambda start, stop: self._rows(draw, condition, start, stop, device),
                count,
                self.batch_size,
                device,
                "evaluation",
            )
            return from_rank_zero(self._scores(table, condition) if is_rank_zero() else Scores())

    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """See `adversaria.evaluation.protocol.Metrics.fingerprint`."""
        data, extractor = self._prepared(), self.extractor
        looked = {} if extractor is None else {"extractor": extractor.name, "extractor_weights": extractor.weights_hash}
        return {
            **looked,
            "sample_precision": "uint8",
            **{f"answers_{name}": value for name, value in data.identity(data.held_out).items()},
            "edits": self._count(),
        }

    def _prepared(self) -> DataModule:
        if self._data is None:
            raise RuntimeError("call prepare() first")
        return self._data

    def _count(self) -> int:
        data = self._prepared()
        return min(self.count, len(data.split(data.held_out)))

    def _fid(self) -> str:
        thousands, rest = divmod(self.count, 1000)
        assert self.extractor is not None
        return f"{self.extractor.name}_answers_fid{self.count if rest else f'{thousands}k'}"

    def _rows(self, draw: Draw, condition: DataSpec, start: int, stop: int, device: torch.device) -> Tensor:
        """What is measured of edits ``start`` to ``stop - 1``, then of what was given, then features; a row of each."""
        data = self._prepared()
        samples, given = draw(start, stop)
        assert given is not None
        answers = data.batch(data.held_out, np.arange(start, stop)).samples.to(device)
        known = condition.modality.known(given)
        unknown = None if known is None else ~known.to(device)
        pictures = [images_of(samples, data.spec), answers]
        if (untouched := _as_answer(condition, given.to(device), data.spec)) is not None:
            pictures.insert(1, untouched)
        rows = torch.cat([torch.stack(list(_measured(p, answers, unknown)), dim=1) for p in pictures], dim=1)
        if self.extractor is not None:
            rows = torch.cat([rows, *(embed(self.extractor, picture, device)[0] for picture in pictures)], dim=1)
        if not bool(torch.isfinite(samples).all()):
            rows = torch.full_like(rows, math.nan)
        return rows

    def _scores(self, table: Tensor, condition: DataSpec) -> Scores:
        """Means of the columns of `_rows`."""
        columns = [
            *_COLUMNS,
            *(_HOLE if condition.modality.known(torch.zeros(1, *condition.shape)) is not None else ()),
        ]
        dim = 0 if self.extractor is None else self.extractor.feature_dim
        kinds = table.shape[1] // (len(columns) + dim)  # edits, perhaps what was given, answers
        measured = table[:, : kinds * len(columns)].double().mean(0).reshape(kinds, len(columns))
        features = list(table[:, kinds * len(columns) :].chunk(kinds, dim=1)) if dim else []
        scores: dict[str, float] = {}
        for kind, prefix in zip(range(kinds - 1), ("", "input_"), strict=False):
            values = dict(zip(columns, measured[kind].tolist(), strict=True))
            sharpness = values.pop("detail") / float(measured[-1, columns.index("detail")])
            scores |= {f"{prefix}{name}": value for name, value in {**values, "sharpness": sharpness}.items()}
            if features:
                scores[f"{prefix}{self._fid()}"] = _distance(features[kind], features[-1])
        why = dict.fromkeys(scores, "samples are not finite") if not bool(torch.isfinite(table).all()) else None
        return Scores(scores, why)


def _measured(made: Tensor, answers: Tensor, unknown: Tensor | None) -> Iterator[Tensor]:
    """The columns, ``[N]`` each, of uint8 pictures."""
    x, y = made.float(), answers.float()
    yield from (psnr(x, y), ssim(x, y), mae(x, y), detail(x))
    if unknown is not None:
        yield from (psnr(x, y, unknown), mae(x, y, unknown))


def _as_answer(condition: DataSpec, given: Tensor, spec: DataSpec) -> Tensor | None:
    """What is given, uint8 ``[N, *spec.shape]``, as if it were the answer; None where it is no picture of that size."""
    picture = condition.modality.as_image(condition.modality.encode(given))
    if picture is None or picture.shape[2:] != spec.shape[1:] or picture.shape[1] not in (1, spec.shape[0]):
        return None
    return picture.expand(-1, spec.shape[0], -1, -1)


def _distance(features: Tensor, answers: Tensor) -> float:
    if not bool(torch.isfinite(features).all()):
        return math.nan
    real = RunningGaussian(answers.shape[1])
    real.update(answers)
    return frechet_distance(features, real.mean, symmetric_root(real.covariance))
