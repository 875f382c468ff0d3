# All runs' JSON → tables, figures, one page.
rule table:
    input:
        plan=f"{ROOT}/plan.json",
        results=result_files(),
    output:
        tables(),
    log:
        f"{LOGS}/table.log",
    params:
        out=f"results/tables/{SUITE}",
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
    shell:
        "python -m structgan table --plan {input.plan:q} --out {params.out:q} > {log:q} 2>&1"


rule plot:
    input:
        plan=f"{ROOT}/plan.json",
        results=result_files(),
    output:
        figures(),
    log:
        f"{LOGS}/plot.log",
    params:
        out=f"results/figures/{SUITE}",
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
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
        f"{LOGS}/report.log",
    params:
        tables=f"results/tables/{SUITE}",
        figures=f"results/figures/{SUITE}",
    threads: asked("report", "threads")
    resources:
        mem_mb=asked("report", "mem_mb"),
        runtime=asked("report", "runtime_min"),
    shell:
        "python -m structgan report --plan {input.plan:q} --tables {params.tables:q} --figures {params.figures:q}"
        " --out {output.page:q} > {log:q} 2>&1"
