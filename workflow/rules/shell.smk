# Shell prefix: keeps Snakemake and bash alive while a training saves. Before a cluster ends a job, it sends SIGUSR1 or SIGTERM to
# all its processes. The training saves and exits; if Snakemake or bash ended first, the cluster would kill the training. The prefix
# also puts the Python that runs Snakemake first on the path, whether or not its environment is activated.
import shlex
import signal
import sys
from pathlib import Path

signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Snakemake handles SIGTERM itself
OWN = shlex.quote(str(Path(sys.executable).parent))
shell.prefix(
    f'set -euo pipefail; trap : TERM; [[ ":$PATH:" == *:{OWN}:* ]] || export PATH={OWN}:"$PATH"; '
)


onstart:
    # Snakemake's default limit of 100 jobs a second makes every job that ends add one more look at all ready jobs to each second
    # that follows. After 200 jobs of 1,000, Snakemake 9.27 took 0.4 of a core while two jobs slept, and without the limit none.
    # Another limit, which somebody set, stays.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
