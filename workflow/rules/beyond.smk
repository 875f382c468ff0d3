# A run's frozen encoder beyond the classification of its own data: maps under linear heads, and other data sets.
if "dense" in PLAN["evaluation"]:

    rule dense:
        input:
            encoder=f"{RUN}/encoder.safetensors",
            data=rules.prepare.output.data,
            protocol=f"{ROOT}/protocol/dense.json",
        output:
            dense=f"{RUN}/dense.json",
        log:
            f"{RUN}/dense.log",
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
            "python -m structgan dense --run {params.run:q} --data {input.data:q} --protocol {input.protocol:q} --device {params.device:q} > {log:q} 2>&1"


if "transfer" in PLAN["evaluation"]:

    rule transfer:
        input:
            encoder=f"{RUN}/encoder.safetensors",
            data=rules.prepare.output.data,
            targets=targets,
            protocol=f"{ROOT}/protocol/transfer.json",
        output:
            transfer=f"{RUN}/transfer.json",
        log:
            f"{RUN}/transfer.log",
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
            targets=lambda wildcards, input: [
                word for file in input.targets for word in ("--target", file)
            ],
        shell:
            "python -m structgan transfer --run {params.run:q} --data {input.data:q} {params.targets:q} --protocol {input.protocol:q}"
            " --device {params.device:q} > {log:q} 2>&1"
