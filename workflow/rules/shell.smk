# What stands before every command. A cluster warns before it ends a job: SIGUSR1 or SIGTERM to every process of it. Only the
# training acts on the warning, saves and leaves; what stands above it, Snakemake and bash, has to wait for that: when they
# end, the cluster kills what is left. And a job runs under the Python that runs Snakemake, its environment activated or not.
import shlex
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Snakemake itself only bears SIGTERM
OWN = shlex.quote(str(Path(sys.executable).parent))
shell.prefix(
    f'set -euo pipefail; trap : TERM; [[ ":$PATH:" == *:{OWN}:* ]] || export PATH={OWN}:"$PATH"; '
)
