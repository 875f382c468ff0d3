# The plan of the suite, and functions: which files it asks for.
import re
import sys
from pathlib import Path

# plan with the sources beside this file, installed or not
sys.path.insert(0, str(workflow.basedir))

from structgan import config as configuration
from structgan import plan as planning
from structgan import evaluation, provenance, sources
from structgan.errors import UserError


def make_plan():
    """The suite's plan; the planning process writes it, a job only reads its own configuration."""
    over = [
        str(path) for path in workflow.overwrite_configfiles
    ]  # from the command line: they lie on top
    files = [str(path) for path in workflow.configfiles if str(path) not in over] + over
    try:
        configuration.check(config, files)
        plan = planning.Plan(config, files)
        if workflow.is_main_process:
            plan.write()
            provenance.check_rights(Path(".snakemake"))
        return plan
    except UserError as error:
        print(f"structgan: {error}", file=sys.stderr)
        sys.exit(2)


PLAN = make_plan()
SUITE = config["suite"]
PLAN_ID = Path(PLAN.path).stem
ID = f"[0-9a-f]{{{provenance.ID}}}"
DATA = "data/prepared/{dataset}-{data}"
RUN = "results/runs/{dataset}/{method}/{augmentation}/{variant}/seed={seed}/{id}"
RUNS = {entry["run"]: entry for entry in PLAN.content["runs"]}
EXTRACTORS = {
    Path(provenance.extractor_path(name, settings["identity"], PLAN.embedded)): (
        provenance.data_path(name, settings["identity"])
    )
    for name, settings in PLAN.datasets.items()
}
OF_SAMPLES = "|".join(
    name for name, declared in evaluation.found().items() if declared.needs == "sample"
)
OF_FEATURES = "|".join(
    name for name, declared in evaluation.found().items() if declared.needs != "sample"
)


wildcard_constraints:
    dataset="[^/]+",
    method="[^/]+",
    augmentation="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    id=ID,
    data=ID,
    protocol=ID,


def planned(wildcards):
    """The plan's entry of a job's run; its config.json in a cluster's job, whose sources may be newer."""
    run = RUN.format(**wildcards)
    try:
        return RUNS.get(run) or provenance.read_config(Path(run))
    except UserError as error:
        print(f"structgan: {error}", file=sys.stderr)
        sys.exit(2)


def data_file(wildcards):
    entry = planned(wildcards)
    return (
        entry["data"]
        if "run" in entry
        else provenance.data_path(entry["dataset"], entry["data"])
    )


def upstream_files(wildcards):
    """The encoder of the upstream run, if there is one."""
    above = planned(wildcards).get("upstream")
    return [f"{above['run']}/encoder.safetensors"] if above else []


def evaluation_files(wildcards):
    """Further files that an evaluation reads, beside the run and its data set."""
    run = RUN.format(**wildcards)
    return PLAN.inputs(RUNS[run], wildcards.evaluation) if run in RUNS else []


def extractor_data(wildcards):
    """The data set that an extractor is trained on."""
    return EXTRACTORS[
        provenance.RUNS / f"{wildcards.dataset}/extractor-{wildcards.id}.safetensors"
    ]


def data_files():
    return [
        provenance.data_path(name, each["identity"])
        for name, each in PLAN.datasets.items()
    ]


def result_files():
    """Every JSON that the tables and figures read, and that makes a run complete."""
    return [
        f"{run}/{name}"
        for run, entry in RUNS.items()
        for name in ("history.json", "env.json", *entry["evaluations"].values())
    ]


def launcher(wildcards, resources):
    """Starts a training: Python, or torchrun with a process for each of its GPUs.

    If Snakemake is limited to fewer GPUs (--resources gpu=1), a job gets only those.
    """
    if resources.get("gpu", 0) < 2:
        return ["python", "-m"]
    signals = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(resources.gpu)]
    return [*torchrun, "--signals-to-handle", signals, "-m", "--"]


def folder(wildcards, output):
    """The folder of a job's first output."""
    return str(Path(output[0]).parent)


def extra_rules():
    """Rules that a foreign baseline brings along: baselines/NAME.smk."""
    return [str(path) for path in sorted((sources.ROOT / "baselines").glob("*.smk"))]
