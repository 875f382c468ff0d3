# config.json, data and the upstream run's weights, if any → weights, history and environment. Further networks, such as a
# generator, are written beside the encoder; env.json lists them all with their checksums.
rule train:
    input:
        config=ancient(f"{RUN}/config.json"),
        data=ancient(training_files),
    output:
        encoder=f"{RUN}/encoder.safetensors",
        history=f"{RUN}/history.json",
        env=f"{RUN}/env.json",
    log:
        f"{RUN}/train.log",
    conda:
        "../envs/structgan.yaml"
    params:
        launcher=launcher,
        run=folder,
        device=config["device"],
    shell:
        "{params.launcher:q} structgan train --run {params.run:q} --data {input.data[0]:q} --device {params.device:q} > {log:q} 2>&1"
