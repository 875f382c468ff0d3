# The suite's DAG and nothing else: its rules, wildcards, inputs, outputs and logs. What dag.py compares planning with.
import json
from pathlib import Path

(PLAN,) = Path("results/plans/grid").glob("*.json")
RUNS = {entry["run"]: entry for entry in json.loads(PLAN.read_text())["runs"]}
RUN = "results/runs/{dataset}/{method}/{augmentation}/{variant}/seed={seed}/{id}"
(DATA,) = {entry["data"] for entry in RUNS.values()}
EXTRACTOR = config["extractor"]
RESULTS = [
    f"{run}/{name}"
    for run, entry in RUNS.items()
    for name in ("history.json", "env.json", *entry["evaluations"].values())
]
TABLES, FIGURES = (f"results/{kind}/grid/made_from-{PLAN.name}" for kind in ("tables", "figures"))
PAGE = "results/report/grid.html"

wildcard_constraints:
    **dict.fromkeys(("dataset", "method", "augmentation", "variant"), "[^/]+"),
    **dict.fromkeys(("id", "protocol"), "[0-9a-f]{8}"),
    seed=r"\d+",

rule all:
    input: RESULTS, TABLES, FIGURES, PAGE

rule prepare:
    input: "data/prepared/{dataset}.json"
    output: "data/prepared/{dataset}.safetensors"
    log: "data/prepared/{dataset}.log"
    shell: "prepare {input} {output} > {log}"

rule extractor:
    input: DATA
    output: EXTRACTOR
    log: f"{EXTRACTOR}.log"
    shell: "extractor {input} {output} > {log}"

rule train:
    input: f"{RUN}/config.json", DATA
    output: f"{RUN}/encoder.safetensors", f"{RUN}/history.json", f"{RUN}/env.json"
    log: f"{RUN}/train.log"
    shell: "train {input} {output} > {log}"

rule evaluate:
    input: f"{RUN}/encoder.safetensors", DATA, "results/protocols/probe-{protocol}.json"
    output: f"{RUN}/probe-{{protocol}}.json"
    log: f"{RUN}/probe-{{protocol}}.log"
    shell: "evaluate {input} {output} > {log}"

rule evaluate_samples:
    input: f"{RUN}/encoder.safetensors", DATA, "results/protocols/fidelity-{protocol}.json", EXTRACTOR
    output: f"{RUN}/fidelity-{{protocol}}.json"
    log: f"{RUN}/fidelity-{{protocol}}.log"
    shell: "evaluate {input} {output} > {log}"

rule table:
    input: PLAN, RESULTS
    output: TABLES
    log: "results/plans/grid/table.log"
    shell: "table > {log}"

rule plot:
    input: PLAN, RESULTS
    output: FIGURES
    log: "results/plans/grid/plot.log"
    shell: "plot > {log}"

rule report:
    input: PLAN, TABLES, FIGURES
    output: PAGE
    log: "results/plans/grid/report.log"
    shell: "report > {log}"
