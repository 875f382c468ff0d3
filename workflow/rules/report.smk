# All runs' JSON → tables, figures, one page. The plan's id is in the name of made_from, so that another plan makes them again.
rule table:
    input:
        plan=ancient(PLAN.path),
        results=RESULTS,
    output:
        made=f"results/tables/{SUITE}/made_from-{PLAN_ID}.json",
    log:
        f"results/plans/{SUITE}/table.log",
    conda:
        "../envs/structgan.yaml"
    params:
        out=folder,
    shell:
        "python -m structgan table --plan {input.plan:q} --out {params.out:q} > {log:q} 2>&1"


rule plot:
    input:
        plan=ancient(PLAN.path),
        results=RESULTS,
    output:
        made=f"results/figures/{SUITE}/made_from-{PLAN_ID}.json",
    log:
        f"results/plans/{SUITE}/plot.log",
    conda:
        "../envs/structgan.yaml"
    params:
        out=folder,
    shell:
        "python -m structgan plot --plan {input.plan:q} --out {params.out:q} > {log:q} 2>&1"


rule report:
    input:
        plan=ancient(PLAN.path),
        tables=rules.table.output.made,
        figures=rules.plot.output.made,
    output:
        page=PAGE.format(suite=SUITE),
    log:
        f"results/plans/{SUITE}/report.log",
    conda:
        "../envs/structgan.yaml"
    params:
        tables=lambda wildcards, input: str(Path(input.tables).parent),
        figures=lambda wildcards, input: str(Path(input.figures).parent),
    shell:
        "python -m structgan report --plan {input.plan:q} --tables {params.tables:q} --figures {params.figures:q}"
        " --out {output.page:q} > {log:q} 2>&1"
