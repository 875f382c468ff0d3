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
MADE = "results/{kind}/grid/made_from-" + PLAN.name


wildcard_constraints:
    id="[0-9a-f]{8}",
    protocol="[0-9a-f]{8}",


rule all:
    input:
        RESULTS,
        MADE.format(kind="tables"),
        MADE.format(kind="figures"),
        "results/report/grid.html",


rule prepare:
    input:
        "data/prepared/{dataset}.json",
    output:
        "data/prepared/{dataset}.safetensors",
    log:
        "data/prepared/{dataset}.log",
    shell:
        "prepare {input} {output} > {log}"


rule extractor:
    input:
        DATA,
    output:
        EXTRACTOR,
    log:
        f"{EXTRACTOR}.log",
    shell:
        "extractor {input} {output} > {log}"


rule train:
    input:
        RUN + "/config.json",
        DATA,
    output:
        RUN + "/encoder.safetensors",
        RUN + "/history.json",
        RUN + "/env.json",
    log:
        RUN + "/train.log",
    shell:
        "train {input} {output} > {log}"


rule evaluate:
    input:
        RUN + "/encoder.safetensors",
        DATA,
        "results/protocols/probe-{protocol}.json",
    output:
        RUN + "/probe-{protocol}.json",
    log:
        RUN + "/probe-{protocol}.log",
    shell:
        "evaluate {input} {output} > {log}"


rule evaluate_samples:
    input:
        RUN + "/encoder.safetensors",
        DATA,
        "results/protocols/fidelity-{protocol}.json",
        EXTRACTOR,
    output:
        RUN + "/fidelity-{protocol}.json",
    log:
        RUN + "/fidelity-{protocol}.log",
    shell:
        "evaluate {input} {output} > {log}"


rule table:
    input:
        PLAN,
        RESULTS,
    output:
        MADE.format(kind="tables"),
    log:
        "results/plans/grid/table.log",
    shell:
        "table > {log}"


rule plot:
    input:
        PLAN,
        RESULTS,
    output:
        MADE.format(kind="figures"),
    log:
        "results/plans/grid/plot.log",
    shell:
        "plot > {log}"


rule report:
    input:
        PLAN,
        MADE.format(kind="tables"),
        MADE.format(kind="figures"),
    output:
        "results/report/grid.html",
    log:
        "results/plans/grid/report.log",
    shell:
        "report > {log}"
