"""Slurm on this machine alone: munged, slurmctld and a slurmd for each of some nodes, all on loopback, as the
user who asks, in one temporary folder. Nothing is read or written outside of it, and nothing stays running:
each daemon is ended by its own id, and when this process is killed a guard ends what belongs to its cluster."""

import getpass
import os
import pathlib
import socket
import subprocess
import tempfile
import time

# What a command of Slurm's may take; a tenth of a second where nothing else runs.
COMMAND_SECONDS = 120
START_SECONDS = 60

CONFIGURATION = """\
ClusterName=scute
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A job that goes back into the queue starts again only when its old credential has expired: 120 s by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
KillWait=5
MinJobAge=3600
ReturnToService=2
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=1\n"
PARTITION = "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"


# Ends every process whose environment names this cluster's configuration, once its owner is gone.
GUARD = """
while kill -0 $1 2>/dev/null; do sleep 1; done
for process in /proc/[0-9]*; do
  if grep -qzxF "SLURM_CONF=$2/slurm.conf" $process/environ 2>/dev/null; then ids="$ids ${process#/proc/}"; fi
done
kill -9 $ids $3
rm -rf "$2"
"""


class ClusterError(Exception):
    pass


def wait_until(what, seconds, ready, every=0.1):
    """The first true answer of ready(), asked every so many seconds."""
    end = time.monotonic() + seconds
    while True:
        answer = ready()
        if answer:
            return answer
        if time.monotonic() > end:
            raise ClusterError(f"expected {what} within {seconds} s, found it still missing")
        time.sleep(every)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class SlurmCluster:
    """with SlurmCluster(["node1", "node2"]) as cluster: …"""

    def __init__(self, nodes):
        self.nodes = nodes
        self.daemons = {}
        self._guard = None
        self.environment = dict(os.environ)
        for name in [n for n in self.environment if n.startswith(("SLURM", "SBATCH"))]:
            del self.environment[name]

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="scute-slurm-", ignore_cleanup_errors=True)
        self.folder = pathlib.Path(self._folder.name)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        self.folder.chmod(0o711)  # munged wants its socket's folders open to all
        folder, user = self.folder, getpass.getuser()
        ports = free_ports(1 + len(self.nodes))
        text = CONFIGURATION.format(controller=ports[0], user=user, folder=folder)
        for name, port in zip(self.nodes, ports[1:]):
            text += NODE.format(name=name, port=port)
            (folder / f"spool-{name}").mkdir()
        (folder / "state").mkdir()
        (folder / "slurm.conf").write_text(text + PARTITION)
        self.environment["SLURM_CONF"] = str(folder / "slurm.conf")
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))

        self._daemon("munged", ["--foreground", f"--socket={folder}/munge.socket", f"--key-file={key}",
                                f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                                f"--seed-file={folder}/munge.seed"])
        self._guard = subprocess.Popen(["sh", "-c", GUARD, "guard", str(os.getpid()), str(folder),
                                        str(self.daemons["munged"].pid)], start_new_session=True,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("munged's socket", START_SECONDS, (folder / "munge.socket").exists)
        self._daemon("slurmctld", ["-D", "-i"])
        for name in self.nodes:
            self._daemon(name, ["-D", "-N", name], program="slurmd")
        wait_until("every node to be idle", START_SECONDS,
                   lambda: all(self.node_state(n) == "IDLE" for n in self.nodes))

    def _daemon(self, name, arguments, program=None):
        path = next((p for p in (f"/usr/sbin/{program or name}", f"/usr/bin/{program or name}")
                     if os.access(p, os.X_OK)), None)
        if path is None:
            raise ClusterError(f"expected {program or name} (scripts/setup_debian.sh --all), found none")
        with open(self.folder / f"{name}.out", "wb") as out:
            self.daemons[name] = subprocess.Popen([path] + arguments, stdin=subprocess.DEVNULL, stdout=out,
                                                  stderr=out, env=self.environment, cwd=self.folder,
                                                  start_new_session=True)

    def run(self, *command, check=True, **more):
        """Standard output of a command that sees this cluster."""
        done = subprocess.run([str(c) for c in command], env=self.environment | more.pop("env", {}), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=COMMAND_SECONDS, **more)
        if check and done.returncode != 0:
            raise ClusterError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *command):
        """A command that sees this cluster, to be waited for by who asks."""
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _shown(self, *what):
        """The fields of `scontrol show WHAT`, of its first entry; none while nobody answers."""
        text = self.run("scontrol", "--oneliner", "show", *what, check=False)
        fields = text.splitlines()[0].split() if text else []
        return dict(f.split("=", 1) for f in fields if "=" in f)

    def node_state(self, node):
        return self._shown("node", node).get("State", "unknown")

    def job(self, number):
        """Of a task, as 12_3, too: JobState, Restarts, BatchHost …"""
        return self._shown("job", number)

    def logs(self):
        """The last lines of every daemon, for who must find out what went wrong."""
        out = []
        for file in sorted([*self.folder.glob("*.out"), *self.folder.glob("work/*.out")]):
            out += [f"--- {file.name}"] + file.read_text(errors="replace").splitlines()[-15:]
        return "\n".join(out)

    def stop(self):
        if "slurmctld" in self.daemons and self.daemons["slurmctld"].poll() is None:
            try:  # tasks first: their slurmstepd would outlive its slurmd
                self.run("scancel", "--full", f"--user={getpass.getuser()}", check=False)
                wait_until("every task to end", 20,
                           lambda: not self.run("squeue", "--noheader", "--states=R,CG", check=False).strip())
            except (ClusterError, subprocess.TimeoutExpired):
                pass
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        if self._guard:
            self._guard.kill()
            self._guard.wait()
        self._folder.cleanup()
