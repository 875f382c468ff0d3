# The suite's DAG and nothing else: its rules, wildcards, inputs, outputs and logs. What dag.py compares planning with.
ROOT = "results/runs/grid"
RUN = ROOT + "/{dataset}/{method}/{augmentation}/{variant}/seed={seed}"
METHODS = {
    "structural": ("full", ("history", "env", "probe", "fidelity")),
    "simclr": ("base", ("history", "env", "probe")),
}
RESULTS = [
    f"{ROOT}/digits/{method}/none/{variant}/seed={seed}/{name}.json"
    for method, (variant, names) in METHODS.items()
    for seed in range(config["seeds"])
    for name in names
]
TABLES = expand(
    "results/tables/grid/{name}.{kind}",
    name=(
        "representation",
        "release",
        "few_labels",
        "generation",
        "generation_more",
        "augmentation",
        "ablation",
    ),
    kind=("csv", "md", "tex"),
) + expand(
    "results/tables/grid/{name}",
    name=("metrics.json", "training.csv", "made_from.json"),
)
FIGURES = expand(
    "results/figures/grid/{name}.{kind}",
    name=("augmentation", "ablation", "training", "samples", "features"),
    kind=("svg", "png"),
) + ["results/figures/grid/made_from.json"]


rule all:
    input:
        TABLES,
        FIGURES,
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
        "data/prepared/{dataset}.safetensors",
        ROOT + "/protocol/extractor.json",
    output:
        ROOT + "/{dataset}/extractor.safetensors",
    log:
        ROOT + "/{dataset}/extractor.log",
    shell:
        "extractor {input} {output} > {log}"


rule train:
    input:
        RUN + "/config.json",
        "data/prepared/{dataset}.safetensors",
    output:
        RUN + "/encoder.safetensors",
        RUN + "/history.json",
        RUN + "/env.json",
    log:
        RUN + "/train.log",
    shell:
        "train {input} {output} > {log}"


rule train_generative:
    input:
        RUN + "/config.json",
        "data/prepared/{dataset}.safetensors",
    output:
        RUN + "/encoder.safetensors",
        RUN + "/generator.safetensors",
        RUN + "/history.json",
        RUN + "/env.json",
    log:
        RUN + "/train.log",
    wildcard_constraints:
        method="structural",
    shell:
        "train {input} {output} > {log}"


ruleorder: train_generative > train


rule probe:
    input:
        RUN + "/encoder.safetensors",
        "data/prepared/{dataset}.safetensors",
        ROOT + "/protocol/probe.json",
    output:
        RUN + "/probe.json",
        RUN + "/map.json",
    log:
        RUN + "/probe.log",
    shell:
        "probe {input} {output} > {log}"


rule fidelity:
    input:
        RUN + "/generator.safetensors",
        RUN + "/encoder.safetensors",
        "data/prepared/{dataset}.safetensors",
        ROOT + "/protocol/fidelity.json",
        ROOT + "/{dataset}/extractor.safetensors",
    output:
        RUN + "/fidelity.json",
        RUN + "/samples.png",
    log:
        RUN + "/fidelity.log",
    shell:
        "fidelity {input} {output} > {log}"


rule table:
    input:
        ROOT + "/plan.json",
        RESULTS,
    output:
        TABLES,
    log:
        ROOT + "/table.log",
    shell:
        "table > {log}"


rule plot:
    input:
        ROOT + "/plan.json",
        RESULTS,
    output:
        FIGURES,
    log:
        ROOT + "/plot.log",
    shell:
        "plot > {log}"


rule report:
    input:
        ROOT + "/plan.json",
        TABLES,
        FIGURES,
    output:
        "results/report/grid.html",
    log:
        ROOT + "/report.log",
    shell:
        "report > {log}"
