#!/usr/bin/env python3
"""A collection over three nodes of Slurm, by cluster/slurm: one task is killed, one told that its time is up, one
node drained and one lost; the merged file has the bytes of one process.
  tests/cluster/slurm_test.py build/cli/scute
Starts Slurm itself (slurm_cluster.py: Debian's slurmctld, slurmd and munge) and ends it, within ten minutes."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from slurm_cluster import ClusterError, SlurmCluster, wait_until  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
MOST_SECONDS = 570
JOBS_SECONDS = 400
TASKS = 6
NODES = ["node1", "node2", "node3"]
COLLECT = [TOP / "examples/tiny-mamba1", "--data", TOP / "examples/text/calibration.jsonl", "--samples", "120",
           "--threads", "1", "--quiet"]


class Collection:
    """The array and the merge job that submit.sh made, in a folder of their own."""

    def __init__(self, cluster, scute):
        self.cluster, self.scute = cluster, scute
        self.folder = cluster.folder / "work"
        self.folder.mkdir()
        self.out = self.folder / "stats.safetensors"
        # A task keeps what it has after 5 of its 20 samples: that is when things happen to it.
        text = cluster.run(TOP / "cluster/slurm/submit.sh", TASKS, self.out, "--time=9", "--", *COLLECT,
                           "--checkpoint-every", 5, env={"SCUTE": str(scute)}, cwd=self.folder)
        print(text.strip(), flush=True)
        self.array, self.merge = (line.split()[1] for line in text.splitlines())

    def task(self, number):
        return f"{self.array}_{number}"

    def process_in(self, number):
        """The id of the task's scute, stopped in the middle of its work."""
        kept = pathlib.Path(f"{self.out}.parts") / (
            f"part-{number}-of-{TASKS}.safetensors.writing/.checkpoint/part.safetensors")
        wait_until(f"task {number} in the middle of its work", 300, kept.exists, every=0.01)
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or (entry / "exe").resolve() != self.scute:
                    continue
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:  # ended meanwhile
                continue
            if {f"SLURM_ARRAY_JOB_ID={self.array}".encode(),
                    f"SLURM_ARRAY_TASK_ID={number}".encode()} <= set(variables):
                os.kill(int(entry.name), signal.SIGSTOP)
                return int(entry.name)
        raise ClusterError(f"expected task {number} in the middle of its work, found no process of its")

    def state(self, job):
        return self.cluster.job(job).get("JobState", "unknown")


def kill(collection, number):
    process = collection.process_in(number)
    os.kill(process, signal.SIGKILL)
    print(f"task {number}: killed", flush=True)


def waits_for(process, number):
    """Whether this signal waits for the process, which is stopped."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    waiting = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return int(waiting, 16) >> (number - 1) & 1


def end_time(collection, number):
    """As Slurm does for --signal, long before the real time limit."""
    process = collection.process_in(number)
    # scancel sends it again and again as long as other tasks of the array wait for a node: once is enough.
    sender = collection.cluster.start("scancel", "--batch", "--signal=USR1", collection.task(number))
    try:
        wait_until(f"task {number} to be told", 300, lambda: waits_for(process, signal.SIGUSR1))
    finally:
        sender.kill()
        sender.wait()
    os.kill(process, signal.SIGCONT)
    print(f"task {number}: told that its time is up", flush=True)


def drain(collection, number):
    """The node where the task runs: it goes on to its end there, and nothing new comes."""
    process = collection.process_in(number)
    node = collection.cluster.job(collection.task(number))["BatchHost"]
    collection.cluster.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    os.kill(process, signal.SIGCONT)
    print(f"task {number}: goes on on {node}, which is drained", flush=True)
    return node


def lose_node(collection, number):
    process = collection.process_in(number)
    node = collection.cluster.job(collection.task(number))["BatchHost"]
    collection.cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    os.kill(process, signal.SIGKILL)
    print(f"task {number}: lost with {node}", flush=True)
    # Refused when the node has come back by itself.
    collection.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


def expect(what, expected, found):
    if expected != found:
        raise ClusterError(f"{what}: expected {expected}, found {found}")


def run(cluster, scute):
    collection = Collection(cluster, scute)
    happenings = (drain, kill, end_time, lose_node)
    with concurrent.futures.ThreadPoolExecutor(len(happenings)) as pool:
        drained, *_ = pool.map(lambda number: happenings[number](collection, number), range(len(happenings)))

    def ended():
        state = collection.state(collection.merge)
        if state in ("FAILED", "CANCELLED", "TIMEOUT"):
            raise ClusterError(f"expected the merge job to end well, found {state}")
        return state == "COMPLETED"

    wait_until("the merge job to end", JOBS_SECONDS, ended)
    for number in range(TASKS):
        job = cluster.job(collection.task(number))
        print(f"task {number}: last start {job['StartTime'][11:]} (allowed from {job['EligibleTime'][11:]}), "
              f"end {job['EndTime'][11:]} on {job['BatchHost']}")
        expect(f"task {number}", "COMPLETED", job["JobState"])
        expect(f"task {number}: started again", number in (1, 2, 3), int(job["Restarts"]) > 0)
        if number != 0 and job["BatchHost"] == drained:
            raise ClusterError(f"task {number}: expected no new task on {drained}, which is drained")

    one = collection.folder / "one.safetensors"
    subprocess.run([scute, "collect", *COLLECT, "--out", one], check=True, stdout=subprocess.DEVNULL)
    if one.read_bytes() != collection.out.read_bytes():
        raise ClusterError("expected the bytes of one process in the merged file, found others")
    for file in sorted(collection.folder.glob("*.out")):
        for line in file.read_text().splitlines():
            if "unfinished" in line or "back into" in line or "interrupted" in line or "finished before" in line:
                print(f"{file.name}: {line.strip()}")
    print(f"{TASKS} tasks on {len(NODES)} nodes: the bytes of one process")


def stop(number, _):
    raise ClusterError(f"interrupted by signal {number}" if number != signal.SIGALRM
                       else f"expected an end within {MOST_SECONDS} s, found none")


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("usage: tests/cluster/slurm_test.py SCUTE")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(MOST_SECONDS)
    began = time.monotonic()
    try:
        with SlurmCluster(NODES) as cluster:
            print(f"{len(NODES)} nodes after {time.monotonic() - began:.0f} s", flush=True)
            try:
                run(cluster, pathlib.Path(sys.argv[1]).resolve())
            except (ClusterError, subprocess.SubprocessError, OSError, KeyError):
                print(cluster.logs(), file=sys.stderr)
                raise
    except (ClusterError, subprocess.SubprocessError) as error:
        sys.exit(f"slurm_test: {error}")
    print(f"slurm_test: passed in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
