# A run's frozen networks → numbers with their protocol.
rule probe:
    input:
        encoder=f"{RUN}/encoder.safetensors",
        data=rules.prepare.output.data,
        protocol=f"{ROOT}/protocol/probe.json",
    output:
        probe=f"{RUN}/probe.json",
        map=f"{RUN}/map.json",
    log:
        f"{RUN}/probe.log",
    priority: int(not workflow.is_main_process)  # first of a group, which ends with the first job that fails
    conda:
        "../envs/structgan.yaml"
    threads: asked("evaluate", "threads")
    resources:
        mem_mb=asked("evaluate", "mem_mb"),
        runtime=asked("evaluate", "runtime_min"),
        gpu=asked("evaluate", "gpu"),
        evaluations=1,
    params:
        run=folder("encoder"),
        device=DEVICE,
    shell:
        "python -m structgan probe --run {params.run:q} --data {input.data:q} --protocol {input.protocol:q} --device {params.device:q} > {log:q} 2>&1"


rule fidelity:
    input:
        generator=f"{RUN}/generator.safetensors",
        encoder=f"{RUN}/encoder.safetensors",
        data=rules.prepare.output.data,
        protocol=f"{ROOT}/protocol/fidelity.json",
        extractor=rules.extractor.output.extractor if EMBEDDED else [],
    output:
        fidelity=f"{RUN}/fidelity.json",
        samples=f"{RUN}/samples.png",
    log:
        f"{RUN}/fidelity.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("evaluate", "threads")
    resources:
        mem_mb=asked("evaluate", "mem_mb"),
        runtime=asked("evaluate", "runtime_min"),
        gpu=asked("evaluate", "gpu"),
        evaluations=1,
    params:
        run=folder("encoder"),
        device=DEVICE,
        extractor=lambda wildcards, input: (
            ["--extractor", input.extractor] if EMBEDDED else []
        ),
    shell:
        "python -m structgan fidelity --run {params.run:q} --data {input.data:q} --protocol {input.protocol:q} --device {params.device:q}"
        " {params.extractor:q} > {log:q} 2>&1"
