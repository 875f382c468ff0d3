# One run: config.json, data and the weights of the run that it depends on, if any, in; weights, history and environment
# out. Further networks, such as a generator, lie beside the encoder; env.json names them all with their checksums.
rule train:
    input:
        config=ancient(f"{RUN}/config.json"),
        data=ancient(data_file),
        upstream=ancient(upstream_files),
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
        "{params.launcher:q} structgan train --run {params.run:q} --data {input.data:q} --device {params.device:q} > {log:q} 2>&1"
