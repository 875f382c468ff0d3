# One run: config.json, data and the weights of the run that it depends on, if any, in; weights, history and environment
# out. Two rules, since not every method generates.
rule train:
    input:
        config=f"{RUN}/config.json",
        data=rules.prepare.output.data,
        upstream=upstream_files,
    output:
        encoder=f"{RUN}/encoder.safetensors",
        history=f"{RUN}/history.json",
        env=f"{RUN}/env.json",
    log:
        f"{RUN}/train.log",
    conda:
        "../envs/structgan.yaml"
    threads: asked("train", "threads")
    resources:
        mem_mb=asked("train", "mem_mb"),
        runtime=asked("train", "runtime_min"),
        gpu=asked("train", "gpu"),
    params:
        launcher=launcher,
        run=folder("encoder"),
        device=DEVICE,
    shell:
        "{params.launcher:q} structgan train --run {params.run:q} --data {input.data:q} --device {params.device:q} > {log:q} 2>&1"


if SAMPLING:

    use rule train as train_generative with:
        output:
            encoder=f"{RUN}/encoder.safetensors",
            generator=f"{RUN}/generator.safetensors",
            history=f"{RUN}/history.json",
            env=f"{RUN}/env.json",
        wildcard_constraints:
            method=alternatives(SAMPLING),
        priority: 1  # GANs train longest: started last, they leave the other cores idle at the end

    ruleorder: train_generative > train
