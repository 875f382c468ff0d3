# The experiment: data → train → evaluate → tables. Laid out in workflow/, configured in workflow/config/.
from snakemake.utils import min_version

min_version("9.0")


configfile: "workflow/config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/shell.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


for extra in extra_rules():

    include: extra


rule all:  # the runs too: tables that look new would hide that their runs are missing
    default_target: True
    input:
        RESULTS,
        rules.table.output,
        rules.plot.output,
        rules.report.output,


onerror:
    if workflow.is_main_process:
        print(
            f"structgan: not everything was made. structgan status --plan {SUITE} says what failed and why; structgan"
            f" table --plan {SUITE} --out results/tables/{SUITE} makes the tables without it.",
            file=sys.stderr,
        )


rule data:
    input:
        data_files(),


rule runs:
    input:
        lambda wildcards: RESULTS,  # read only when asked for


rule tables:
    input:
        rules.table.output,
