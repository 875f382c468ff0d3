# Raw archives → one memory-mappable file a data set; and the embedded extractor of the generation metrics.
rule prepare:
    input:
        settings=ancient(f"{DATA}.json"),
    output:
        data=f"{DATA}.safetensors",
    log:
        f"{DATA}.log",
    conda:
        "../envs/structgan.yaml"
    shell:
        "python -m structgan prepare --settings {input.settings:q} --out {output.data:q} > {log:q} 2>&1"


rule extractor:
    input:
        data=ancient(extractor_data),
        protocol=ancient(provenance.protocol_path(PLAN.embedded)),
    output:
        extractor="results/runs/{dataset}/extractor-{id}.safetensors",
    log:
        "results/runs/{dataset}/extractor-{id}.log",
    conda:
        "../envs/structgan.yaml"
    params:
        device=config["device"],
    shell:
        "python -m structgan extractor --data {input.data:q} --protocol {input.protocol:q} --device {params.device:q}"
        " --out {output.extractor:q} > {log:q} 2>&1"
