"""What workflow/rules/shell.smk does to Snakemake, in a workflow of one job."""

import subprocess
import sys
from pathlib import Path

import pytest

RULES = Path(__file__).resolve().parents[2] / "workflow/rules/shell.smk"
WORKFLOW = f"""
include: "{RULES}"
onsuccess: print("limited:", workflow.scheduler.job_rate_limiter is not None)
rule one:
    output: "done"
    shell: "touch done"
"""


@pytest.mark.parametrize(("options", "limited"), [((), False), (("--max-jobs-per-timespan", "5/1s"), True)])
def test_jobs_are_started_without_a_limit_a_second_unless_somebody_sets_one(tmp_path, options, limited):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    command = (sys.executable, "-m", "snakemake", "--cores", "1", *options)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "done").exists()
    assert f"limited: {limited}" in done.stdout
