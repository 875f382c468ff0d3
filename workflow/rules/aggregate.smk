# All runs' JSON → tables, figures, one page.
rule table:
    input:
        plan=f"{ROOT}/plan.json",
        results=result_files(),
    output:
        tables=tables(),
    log:
        f"{ROOT}/table.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
    params:
        out=folder("tables"),
    shell:
        "python -m structgan table --plan {input.plan:q} --out {params.out:q} > {log:q} 2>&1"


rule plot:
    input:
        plan=f"{ROOT}/plan.json",
        results=result_files(),
    output:
        figures=figures(),
    log:
        f"{ROOT}/plot.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
    params:
        out=folder("figures"),
    shell:
        "python -m structgan plot --plan {input.plan:q} --out {params.out:q} > {log:q} 2>&1"


rule report:
    input:
        plan=f"{ROOT}/plan.json",
        tables=tables(),
        figures=figures(),
    output:
        page=f"results/report/{SUITE}.html",
    log:
        f"{ROOT}/report.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
    params:
        tables=folder("tables"),
        figures=folder("figures"),
    shell:
        "python -m structgan report --plan {input.plan:q} --tables {params.tables:q} --figures {params.figures:q}"
        " --out {output.page:q} > {log:q} 2>&1"
