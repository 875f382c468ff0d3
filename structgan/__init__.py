"""structgan: a reproducibility benchmark of structural adversarial objectives for self-supervised learning."""

import os

__version__ = "0.1.0"
os.environ.setdefault("USER", str(os.getuid()))  # torch and Snakemake ask for a name; a container's user may have none
