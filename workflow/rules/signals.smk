# A cluster warns before it ends a job: SIGUSR1 or SIGTERM to every process of it. Only the training acts on the warning, saves
# and leaves; what stands above it, Snakemake and bash, has to wait for that: when they end, the cluster kills what is left.
import signal

signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Snakemake itself only bears SIGTERM
shell.prefix("set -euo pipefail; trap : TERM; ")
