"""`medseg train` on several processes as torchrun starts them, forked from one that has imported everything."""

import json
import socket
import subprocess
import sys

# For each line on stdin, {"count", "arguments", "log", "harm"}, forks `medseg ARGUMENTS` so many times, with stderr
# in LOG.RANK, and answers with the exit statuses. The harm, [kind, rank, number], comes over one of them: it is killed
# before batch `number`, or refused one of its cases, or finds the disk full when it writes a checkpoint.
FORKER = """
import gc, json, os, signal, sys
from medseg.cli.main import main
import medseg.bundle.pack, medseg.bundle.describe, medseg.data.dataset, medseg.reports.curve, medseg.engines.trainer
from medseg.data.dataset import Batches
from medseg.domain.errors import GridError, ResourceError

def do_harm(kind, number):
    def killed(self, step, share, real=Batches.__call__):
        if step == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, step, share)
    def refused(*args):
        raise GridError("case7: lies elsewhere")
    def full(*args):
        raise ResourceError("step.pt: the disk is full")
    if kind == "killed":
        Batches.__call__ = killed
    if kind == "refused":
        medseg.data.dataset.load_samples = refused
    if kind == "full":
        medseg.engines.trainer.save_checkpoint = full

def child(job, rank):
    file = os.open(f"{job['log']}.{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    if job["count"] > 1:
        os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job["port"])}
        os.environ |= {name: str(job["count"]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
        os.environ |= {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
    if job["harm"] and job["harm"][1] == rank:
        do_harm(job["harm"][0], job["harm"][2])
    sys.argv[1:] = job["arguments"]
    try:
        main()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code)  # without a clean-up of everything that was imported

gc.freeze()  # or every child would copy all of it
for line in sys.stdin:
    job, children = json.loads(line), []
    for rank in range(job["count"]):
        children.append(os.fork())
        if children[-1] == 0:
            child(job, rank)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children]), flush=True)
"""


class Forker:
    """`run` gives exit statuses and the lines of stderr, both by process."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        self.errors = (folder / "forker.txt").open("w")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen([sys.executable, "-c", FORKER], text=True, **pipes)

    def run(self, count, *arguments, harm=None):
        self.runs += 1
        log = self.folder / f"run{self.runs}"
        job = {"count": count, "arguments": [*map(str, arguments)], "log": str(log), "port": a_port(), "harm": harm}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        codes = json.loads(self.process.stdout.readline())
        return codes, [(self.folder / f"{log.name}.{rank}").read_text().splitlines() for rank in range(count)]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def a_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
