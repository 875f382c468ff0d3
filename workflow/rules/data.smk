# Raw archives → one memory-mappable file a data set; and the embedded extractor of the generation metrics.
rule prepare:
    input:
        settings="data/prepared/{dataset}.json",
    output:
        data="data/prepared/{dataset}.safetensors",
    log:
        "data/prepared/{dataset}.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("prepare", "threads")
    resources:
        mem_mb=asked("prepare", "mem_mb"),
        runtime=asked("prepare", "runtime_min"),
    shell:
        "python -m structgan prepare --settings {input.settings:q} --out {output.data:q} > {log:q} 2>&1"


rule extractor:
    input:
        data=rules.prepare.output.data,
        protocol=f"{ROOT}/protocol/extractor.json",
    output:
        extractor=f"{ROOT}/{{dataset}}/extractor.safetensors",
    log:
        f"{ROOT}/{{dataset}}/extractor.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("evaluate", "threads")
    resources:
        mem_mb=asked("evaluate", "mem_mb"),
        runtime=asked("evaluate", "runtime_min"),
        gpu=asked("evaluate", "gpu"),
    params:
        device=DEVICE,
    shell:
        "python -m structgan extractor --data {input.data:q} --protocol {input.protocol:q} --device {params.device:q}"
        " --out {output.extractor:q} > {log:q} 2>&1"
