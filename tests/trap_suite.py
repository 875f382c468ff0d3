"""A method that goes wrong as its settings say, and a suite of it and the structural GAN."""

from __future__ import annotations

TRAP = '''
"""A method that goes wrong as its settings say."""
import torch
from torch import nn
from structgan.method import Method


class Trap(Method):
    """Learns by adding 1 to its weights."""

    def __init__(self, settings, image_size, num_classes, steps):
        super().__init__(settings, image_size, num_classes, steps)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, 4))
        self.other = nn.Linear(1, 1)

    def step(self, views, labels):
        now = self.step_index + 1 == self.settings["at"]
        with torch.no_grad():
            self.encoder[1].bias.add_(1.0)
            if now and self.settings["what"] == "collapse":
                self.encoder[1].weight.zero_()
            if now and self.settings["what"] == "weights":
                self.other.weight.fill_(float("inf"))
        bad = float(self.settings["bad"]) if now and self.settings["what"] == "loss" else 1.0
        return {"good": torch.tensor(2.0), "energy": torch.tensor(bad)}
'''
VARIANTS = {
    "nan": {"what": "loss", "at": 5, "bad": "nan"},
    "inf": {"what": "loss", "at": 6, "bad": "-inf"},
    "collapse": {"what": "collapse", "at": 5, "bad": ""},
    "weights": {"what": "weights", "at": 6, "bad": ""},
}
STEPS = 12


def suite(demo):
    """One run of the structural GAN and one of each way to go wrong, at the demo's settings."""
    return {
        "suite": "tiny",
        "training": {**demo["training"], "steps": STEPS},
        "datasets": {"digits": demo["datasets"]["digits"]},
        "methods": {
            "structural": {"settings": demo["methods"]["structural"]["settings"]},
            "trap": {"settings": {}, "variants": {name: {"settings": value} for name, value in VARIANTS.items()}},
        },
        "grid": [
            {
                "datasets": ["digits"],
                "methods": ["structural"],
                "augmentations": ["crop"],
                "variants": ["full"],
                "seeds": [0],
            },
            {
                "datasets": ["digits"],
                "methods": ["trap"],
                "augmentations": ["none"],
                "variants": list(VARIANTS),
                "seeds": [0],
            },
        ],
        "evaluation": demo["evaluation"],
        "device": "auto",
    }
