"""structgan: a reproducibility benchmark of structural adversarial objectives for self-supervised learning."""

__version__ = "0.1.0"
