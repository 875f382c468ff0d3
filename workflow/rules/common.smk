# The plan of the suite, and functions: which files it asks for.
import re
import sys
from pathlib import Path

sys.path.insert(
    0, str(workflow.basedir)
)  # plan with the sources beside this file, installed or not

from structgan import config as configuration
from structgan import plan as planning
from structgan import sources
from structgan.errors import UserError
from structgan.identity import protocol, standing


def make_plan():
    """The suite's plan; the planning process writes it, a job only reads its own configuration."""
    over = [
        str(path) for path in workflow.overwrite_configfiles
    ]  # from the command line: they stand on top
    files = [str(path) for path in workflow.configfiles if str(path) not in over] + over
    try:
        configuration.check(config, files)
        if workflow.is_main_process:
            return planning.write(config, files)
        return planning.make(config, files)[0]
    except UserError as error:
        print(f"structgan: {error}", file=sys.stderr)
        sys.exit(2)


PLAN = make_plan()
SUITE = PLAN["suite"]
ROOT = f"results/runs/{SUITE}"
RUN = f"{ROOT}/{{dataset}}/{{method}}/{{augmentation}}/{{variant}}/seed={{seed}}"
SAMPLING = [name for name, method in PLAN["methods"].items() if method["samples"]]
CELLS = {cell["run"]: cell for cell in PLAN["cells"]}
EMBEDDED = PLAN["protocol"]["fidelity"]["extractor"] == "embedded"
DEVICE = config["resources"]["device"]
TABLES = [
    "representation",
    "release",
    "few_labels",
    "generation",
    "generation_more",
    "augmentation",
    "ablation",
    "statistics",
    "comparisons",
    "verdicts",
    "cost",
    *(kind for kind in protocol.OPTIONAL if kind in PLAN["evaluation"]),
]
IMAGES = list({**PLAN["datasets"], **PLAN.get("targets", {})})
FIGURES = ["augmentation", "ablation", "training", "samples", "features"]
AXES = [axis["file"] for axis in PLAN.get("axes", {}).values()]
TABLES += AXES
FIGURES += AXES + ["sensitivity"] * bool(AXES)


def alternatives(names):
    """A wildcard constraint that matches exactly these names."""
    return "|".join(re.escape(name) for name in sorted(names))


wildcard_constraints:
    dataset=alternatives(IMAGES),
    method=alternatives(PLAN["methods"]),
    augmentation=alternatives(PLAN["augmentations"]),
    variant=alternatives(PLAN["variants"]),
    seed=r"\d+",


def asked(kind, key):
    """A resource of one kind of job, from the configuration."""
    return config["resources"][kind][key]


def launcher(wildcards, resources):
    """What starts a training: Python, or torchrun with a process for each of its GPUs.

    Where Snakemake itself is limited to fewer GPUs (--resources gpu=1), a job has as many as that.
    """
    if resources.gpu < 2:
        return ["python", "-m"]
    signals = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(resources.gpu)]
    return [*torchrun, "--signals-to-handle", signals, "-m", "--"]


def folder(of):
    """The folder of a job's named file, as a parameter."""

    def find(wildcards, input, output):
        found = input.get(of) or output.get(of)
        return str(Path(found if isinstance(found, str) else found[0]).parent)

    return find


def upstream_files(wildcards):
    """The networks of the run that a run depends on, where it depends on one."""
    above = CELLS[RUN.format(**wildcards)].get("upstream")
    if above is None:
        return []
    run, method = above["run"], CELLS[above["run"]]["method"]
    return [
        f"{run}/{name}.safetensors"
        for name in ["encoder"] + ["generator"] * (method in SAMPLING)
    ]


def data_files():
    return [f"data/prepared/{name}.safetensors" for name in IMAGES]


def targets(wildcards):
    """The data sets that a run's encoder is transferred to."""
    names = PLAN["transfer"][wildcards.dataset]
    return [f"data/prepared/{name}.safetensors" for name in names]


def result_files():
    """Every JSON that the tables and figures read, and that makes a run complete."""
    files = []
    for run, cell in CELLS.items():
        made = [standing.FILES[kind][0] for kind in standing.asked(PLAN, cell)]
        files += [f"{run}/{name}" for name in ("history.json", "env.json", *made)]
    return files


def tables():
    return [
        f"results/tables/{SUITE}/{name}.{kind}"
        for name in TABLES
        for kind in ("csv", "md", "tex")
    ] + [
        f"results/tables/{SUITE}/{name}"
        for name in ("metrics.json", "training.csv", "made_from.json")
    ]


def figures():
    return [
        f"results/figures/{SUITE}/{name}.{kind}"
        for name in FIGURES
        for kind in ("svg", "png")
    ] + [f"results/figures/{SUITE}/made_from.json"]


def extra_rules():
    """Rules that a foreign baseline brings along: baselines/NAME.smk."""
    return [str(path) for path in sorted((sources.ROOT / "baselines").glob("*.smk"))]
