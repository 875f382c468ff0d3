# A run's frozen networks → numbers with their protocol. The file's name has the evaluation and the protocol's id.
rule evaluate:
    input:
        encoder=ancient(f"{RUN}/encoder.safetensors"),
        data=ancient(evaluation_files),
        protocol=ancient("results/protocols/{evaluation}-{protocol}.json"),
    output:
        result=f"{RUN}/{{evaluation,{OF_FEATURES}}}-{{protocol}}.json",
    log:
        f"{RUN}/{{evaluation}}-{{protocol}}.log",
    priority: int(not workflow.is_main_process)
    conda:
        "../envs/structgan.yaml"
    resources:
        evaluations=1,
    params:
        run=folder,
        device=config["device"],
    shell:
        "python -m structgan evaluate --run {params.run:q} --protocol {input.protocol:q} --data {input.data[0]:q}"
        " --device {params.device:q} > {log:q} 2>&1"


# Last in a cluster's submission, which ends with the first job that fails: without Inception's weights, the probes are still made.
use rule evaluate as evaluate_samples with:
    output:
        result=f"{RUN}/{{evaluation,{OF_SAMPLES}}}-{{protocol}}.json",
    priority: 0
