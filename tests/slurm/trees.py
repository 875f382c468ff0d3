"""A copy of the repository whose Snakemake may run in the background, as a cluster's tests need."""

import signal
import subprocess

import tree

RULES = ("train", "evaluate", "evaluate_samples", "extractor", "prepare", "table", "plot", "report")


class Tree(tree.Tree):
    """A copy of the repository."""

    def start(self, *words: str, config: str, **variables: str) -> subprocess.Popen[str]:
        """Snakemake as a user would call it, in the background, its messages in a file."""
        command = ["snakemake", "--configfile", *tree.TINY, config, *words]
        with open(self.root / "snakemake.log", "w") as out:
            environment = self.environment(**variables)
            return subprocess.Popen(command, cwd=self.root, env=environment, stdout=out, stderr=out, text=True)

    def run(self, *words: str, config: str, timeout: float = 600, **variables: str) -> None:
        """The same to its end, which must be a good one."""
        with self.start(*words, config=config, **variables) as process:
            try:
                process.wait(timeout)
            finally:
                end(process)
        assert process.returncode == 0, self.messages()

    def messages(self) -> str:
        """The end of what Snakemake said last."""
        return (self.root / "snakemake.log").read_text()[-6000:]


def small(mem_mb: int, runtime: int, gpu: int) -> list[str]:
    """Options that make each job small enough for the cluster of the tests."""
    asked = [f"{rule}:{key}={value}" for rule in RULES for key, value in (("mem_mb", mem_mb), ("runtime", runtime))]
    asked += [f"{rule}:gpu={gpu}" for rule in RULES[:4]]
    return ["--set-threads", *(f"{rule}=1" for rule in RULES), "--set-resources", *asked]


def end(process: subprocess.Popen[str]) -> None:
    """End Snakemake, which on Ctrl-C cancels its jobs, where it has not ended by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(300)
        except subprocess.TimeoutExpired:
            process.kill()
