"""Experiments about GANs, made with the framework and no part of it: see README.md.

Their configs lie in `CONF`: ``python train.py --config-dir=studies/conf experiment=ring8_best``.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "studies" / "conf"
