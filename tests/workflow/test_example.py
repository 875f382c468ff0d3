"""The example of baselines/README.md, from two new files to a table."""

import pytest
from tree import PARTS, ROOT, TINY, Tree

FEWER = """
grid:
  - {datasets: [digits_gradient], methods: [mine], augmentations: [none], seeds: [0]}
  - {datasets: [digits_gradient], methods: [random], augmentations: [none], seeds: [0]}
"""
"""Of the example's grid, what a test can afford."""


@pytest.mark.slow
def test_the_example_of_the_baselines_readme_runs_from_data_to_table(tmp_path) -> None:
    """As the page says: new, check, snakemake. Two files are new, both word for word the page's, and none is edited."""
    tree = Tree.copy(tmp_path)

    def files() -> dict[str, str]:
        parts = (path for part in PARTS for path in [tree.root / part, *(tree.root / part).rglob("*")])
        return {str(p.relative_to(tree.root)): p.read_text() for p in parts if p.is_file() and p.suffix != ".pyc"}

    blocks = (tree.root / "baselines/README.md").read_text().split("```")
    example, block = (text.split("\n", 1)[1] for text in blocks if text.startswith(("python", "yaml")))
    before = files()
    tree.call("python", "-m", "structgan", "new", "baseline", "mine")
    assert tree.call("python", "-m", "structgan", "check", "mine").stdout.endswith("mine: keeps the contract\n")
    (tree.root / "fewer.yaml").write_text(FEWER)
    tree.snakemake(configs=(*TINY, "workflow/config/mine.yaml", "fewer.yaml"))
    lines = (tree.root / "results/tables/mine/representation.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[1:3] for line in lines) == [["mine", "none"], ["random", "none"]]
    assert files() == before | {"baselines/mine.py": example, "workflow/config/mine.yaml": block}


def test_the_conda_environment_has_the_pins_of_the_lock_file() -> None:
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    conda = (ROOT / "workflow/envs/structgan.yaml").read_text().splitlines()
    pins = [line.split("- ")[1] for line in conda if "==" in line]
    assert len(pins) > 10 and [pin for pin in pins if pin not in lock] == []
