# The plan of the suite, and functions: which files it asks for.
import json
import re
import sys
from pathlib import Path

# plan with the sources beside this file, installed or not
sys.path.insert(0, str(workflow.basedir))

from structgan import config as configuration
from structgan import plan as planning
from structgan import evaluation, provenance, sources
from structgan.errors import UserError

PAGE = "results/report/{suite}.html"


def make_plan():
    """The suite's plan; the planning process writes it, a job only reads its own configuration.

    The files are read again: Snakemake takes the last of a key that is written twice, and 010 for eight.
    """
    files = [str(configuration.BASE), *map(str, workflow.overwrite_configfiles)]
    if workflow.config_settings.config:
        files.append(
            configuration.OPTION + json.dumps(dict(workflow.config_settings.config))
        )
    try:
        if re.search("[{}]", str(workflow.basedir)):
            raise UserError(
                f"{workflow.basedir}: Snakemake takes braces in a path for wildcards; move the checkout"
            )
        configuration.check_options(sys.argv)
        settings = configuration.load(files[1:])
        plan = planning.Plan(settings, files, fresh=workflow.is_main_process)
        config.clear()
        config.update(settings)
        if workflow.is_main_process:
            plan.write()
            page = Path(PAGE.format(suite=settings["suite"]))
            provenance.check_rights(Path(".snakemake"), page)
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
RESULTS = [  # every JSON that the tables and figures read, and that makes a run complete
    f"{run}/{name}"
    for run, entry in RUNS.items()
    for name in ("history.json", "env.json", *entry["evaluations"].values())
]
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
    if run in RUNS:
        return RUNS[run]
    try:
        own = provenance.read_config(Path(run))
    except UserError as error:
        print(f"structgan: {error}", file=sys.stderr)
        sys.exit(2)
    return own | {"data": provenance.data_path(own["dataset"], own["data"])}


def training_files(wildcards):
    """A training's data set, and the encoder of its upstream run, if there is one."""
    entry = planned(wildcards)
    above = [entry["upstream"]["run"]] if "upstream" in entry else []
    return [entry["data"], *(f"{run}/encoder.safetensors" for run in above)]


def evaluation_files(wildcards):
    """An evaluation's data set, and further files that it reads beside the run."""
    entry = planned(wildcards)
    also = PLAN.inputs(entry, wildcards.evaluation) if "run" in entry else []
    return [entry["data"], *also]


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
