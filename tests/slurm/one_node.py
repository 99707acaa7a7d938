"""A private Slurm on one machine: munged, slurmctld and one slurmd per pretended node, as the calling user.

Neither root nor systemd, cgroups or an accounting database is needed, and nothing is written outside one folder, whose
name must be short (Unix sockets allow some 100 characters). Jobs are real: they queue, run, are killed over time or
memory, preempted and requeued. GPUs are pretended by links to ``/dev/null``. Needs Debian's slurm-wlm and munge.

    python tests/slurm/one_node.py up /tmp/mine --nodes 2     start it, and print what `env` prints
    eval "$(python tests/slurm/one_node.py env /tmp/mine)"    sbatch, squeue, ... of this shell now speak to it
    python tests/slurm/one_node.py down /tmp/mine --purge     end its jobs and daemons, remove the folder

Partitions: ``main`` (default) and ``gpu`` are alike; ``high`` takes the place of jobs in ``low``, which are requeued.
"""

import argparse
import contextlib
import functools
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("srun", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
PACKAGES = "apt-get install slurm-wlm munge"
FOLDER = re.compile(r"/[\w./-]{,60}")  #: a socket's path holds 108 bytes, and slurm.conf does not quote
PORTS = range(20000, 32000)  #: below those that the kernel hands out by itself
ATTEMPTS = 5
STUCK_SECONDS = 600  #: for what the daemons are certain to do, unless they hang
SAVE_SECONDS = 6  #: slurmctld writes a change of its state after five

CONFIGURATION = """\
ClusterName=one-node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its first credential has expired, two minutes unless told otherwise.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.own.pid
SlurmdPidFile={folder}/run/%n.own.pid
SlurmdLogFile={folder}/log/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
# Without cgroups memory is watched by sampling each second; a job seen above what it asked for is killed, says so on
# its stderr, and counts as FAILED (JobLaunchFailure), not as OUT_OF_MEMORY.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SlurmdParameters=config_overrides
GresTypes=gpu
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
MinJobAge=86400
KillWait=30
OverTimeLimit=0
InactiveLimit=0
SlurmdTimeout=30
MessageTimeout=20
UnkillableStepTimeout=120
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory} Gres={gres}\n"
)
PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES MaxTime=1-0 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=ALL MaxTime=1-0 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=ALL MaxTime=1-0 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes=ALL MaxTime=1-0 PriorityTier=100 PreemptMode=OFF
"""


class SlurmError(Exception):
    """The cluster did not do what was asked of it; the message names the log to read."""


def missing() -> list[str]:
    """The programs that this machine lacks; empty means that a cluster can be started."""
    return [name for name in (*DAEMONS, "munge", *CLIENTS) if _program(name) is None]


@dataclass(frozen=True)
class Job:
    """One line of ``squeue``. Finished jobs stay listed for a day."""

    id: int
    name: str
    state: str  #: PENDING, RUNNING, COMPLETING, COMPLETED, FAILED, TIMEOUT, OUT_OF_MEMORY, CANCELLED, NODE_FAIL, ...
    reason: str
    partition: str
    nodes: str
    folder: str  #: in which it was submitted
    comment: str  #: where the Slurm plugin of Snakemake keeps rule and wildcards

    @property
    def finished(self) -> bool:
        """Whether nothing of it runs or waits any more."""
        return self.state not in ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED")


class OneNode:
    """A private cluster in ``folder``, where all of its state lies: another process can stop it knowing the folder."""

    def __init__(
        self, folder: Path, *, nodes: int = 1, cpus: int = 8, gpus: int = 4, memory: int = 16000, port: int = 0
    ) -> None:
        self.folder = folder.absolute()
        self.nodes = [f"node{number}" for number in range(1, nodes + 1)]
        self.cpus, self.gpus, self.memory, self.port = cpus, gpus, memory, port
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    # -- the whole cluster ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle; with port 0, try others when somebody was faster."""
        if not FOLDER.fullmatch(str(self.folder)):
            raise SlurmError(f"{self.folder}: too long, or not only letters, digits and . _ -; choose another folder")
        if absent := missing():
            raise SlurmError(f"not installed: {', '.join(absent)}; {PACKAGES}")
        if self._alive():
            raise SlurmError(f"{self.folder}: a cluster runs here already")
        self._prepare_folder()
        for attempt in range(1, ATTEMPTS + 1):
            self._configure(self.port or _free_ports(len(self.nodes) + 1))
            try:
                self._start_daemons()
            except SlurmError:
                self.stop()
                if self.port or attempt == ATTEMPTS:
                    raise
            else:
                return

    def stop(self, *, purge: bool = False) -> None:
        """End every job and daemon, and wait until no process of them is left; ``purge`` removes the folder, too."""
        if self._pid("slurmctld"):
            with contextlib.suppress(SlurmError, subprocess.TimeoutExpired):
                self.run("scancel", "--user", _user(), timeout=5)
        for name in sorted(self._names(), key=_last_first):
            self._end(name, signal.SIGTERM)
        self._kill_jobs()
        if purge and self.configuration.exists():
            shutil.rmtree(self.folder)

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill_controller(self, *, saved: bool = True) -> None:
        """SIGKILL slurmctld; running jobs go on, and every client has to wait.

        The controller writes its state some seconds after a change. What it has not yet written is forgotten, a job
        just submitted for example, whose number is then given again; ``saved`` waits until all is written.
        """
        if saved:
            time.sleep(SAVE_SECONDS)
        self._end("slurmctld", signal.SIGKILL)

    def start_controller(self) -> None:
        """Start slurmctld, which reads back all jobs, and wait until it answers."""
        self._launch("slurmctld", "slurmctld", "-D", "-f", str(self.configuration))
        self._wait(self._answers, "slurmctld does not answer", "slurmctld")

    @contextlib.contextmanager
    def short_of_patience(self) -> Iterator[None]:
        """Let clients wait for an answer only a second: while the controller is away none will come."""
        text = self.configuration.read_text(encoding="utf-8")
        self.configuration.write_text(re.sub("MessageTimeout=.*", "MessageTimeout=1", text), encoding="utf-8")
        try:
            yield
        finally:
            self.configuration.write_text(text, encoding="utf-8")

    def kill_node(self, name: str, *, jobs: bool = True, declare: bool = True) -> None:
        """Lose a node: SIGKILL its slurmd and, unless only the network is lost, all that runs there.

        The controller would notice after its ``SlurmdTimeout``; it is told at once unless ``declare`` is false.
        """
        self._end(name, signal.SIGKILL)
        if jobs:
            self._kill_jobs(name)
        if declare:
            self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=lost")

    @contextlib.contextmanager
    def silent(self, *names: str) -> Iterator[None]:
        """Suspend the daemons of nodes: they hear nothing, and say nothing, until the end of the block."""
        suspended = [pid for name in names if (pid := self._pid(name))]
        for pid in suspended:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in suspended:
                os.kill(pid, signal.SIGCONT)

    def start_node(self, name: str) -> None:
        """Start a node's slurmd, and wait until the controller uses the node again."""
        self._launch(name, "slurmd", "-D", "-N", name, "-f", str(self.configuration))
        usable = ("idle", "mix", "alloc", "comp")
        self._wait(lambda: self._node_states().get(name) in usable, f"{name} does not come up", "slurmctld", name)

    def drain(self, *names: str) -> None:
        """Let nodes take no new job. On disk when this returns: a controller killed at once still knows of it."""
        self.run("scontrol", "update", f"NodeName={','.join(names)}", "State=DRAIN", "Reason=drained")
        time.sleep(SAVE_SECONDS)

    def resume_drained(self) -> list[str]:
        """Use the drained nodes again; their names.

        Slurm refuses to resume a node that is not drained, and one that has not yet registered with a controller that
        was started anew: that knows no more of it than that it is drained.
        """
        drained = [name for name, state in self._node_states().items() if state.startswith("dr")]
        if drained:
            there = [name for name in drained if self._pid(name)]
            self._wait(lambda: self._have_registered(there), "drained nodes do not register", "slurmctld", *there)
            self.run("scontrol", "update", f"NodeName={','.join(drained)}", "State=RESUME")
        return drained

    def heal(self) -> None:
        """Cancel what waits or runs, and start again every daemon that is gone; if that fails, begin anew."""
        try:
            self._heal()
        except (SlurmError, subprocess.TimeoutExpired):
            self.stop()
            for name in ("state", "spool"):
                shutil.rmtree(self.folder / name)
            self.start()

    def _heal(self) -> None:
        if not self._pid("slurmctld"):
            self.start_controller()
        for name in self.nodes:
            if not self._pid(name):
                self.start_node(name)
        if unfinished := [str(job.id) for job in self.jobs().values() if not job.finished]:
            self.run("scancel", *unfinished)
        self._wait(self._idle, "cancelled jobs do not end", "slurmctld", *self.nodes, seconds=60)

    # -- using it ---------------------------------------------------------------------------------------------------

    @property
    def configuration(self) -> Path:
        """The ``slurm.conf`` that every program of this cluster reads."""
        return self.folder / "slurm.conf"

    def environment(self) -> dict[str, str]:
        """What a process needs to speak to this cluster rather than to any other."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"SLURM_CONF": str(self.configuration), "PATH": path}

    def run(self, *command: str, timeout: float = 60) -> str:
        """Run a Slurm client, and give what it says."""
        command = (str(_program(command[0])), *command[1:])
        env = _environment_without_slurm() | self.environment()
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise SlurmError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def submit(self, script: str, *options: str) -> int:
        """``sbatch`` a few lines of shell; output goes to ``DIR/log/job-<id>.out``. Gives the job's number."""
        log = f"--output={self.folder / 'log'}/job-%j.out"
        return int(self.run("sbatch", "--parsable", "--open-mode=append", log, *options, f"--wrap={script}"))

    def output(self, job: int) -> str:
        """What a job of ``submit`` has printed so far."""
        log = self.folder / "log" / f"job-{job}.out"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def jobs(self) -> dict[int, Job]:
        """Every job that the controller remembers, by number."""
        told = self.run("squeue", "--noheader", "--states=all", "--format=%A\t%j\t%T\t%r\t%P\t%N\t%Z\t%k")
        rows = (line.split("\t") for line in told.splitlines())
        return {int(number): Job(int(number), *rest) for number, *rest in rows}

    def details(self, job: int) -> dict[str, str]:
        """What ``scontrol show job`` says of a job: ``Restarts``, ``ExitCode``, ``TimeLimit``, ..."""
        told = self.run("scontrol", "show", "job", str(job), "--oneliner")
        return dict(re.findall(r"(\S+?)=(\S*)", told))

    def expire(self, job: int, seconds: int = 1) -> None:
        """Let a running job reach its time limit in so many seconds: the limit itself counts in whole minutes."""
        end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
        self.run("scontrol", "update", f"JobId={job}", f"EndTime={end}")

    def wait(self, job: int, *states: str, timeout: float = STUCK_SECONDS) -> Job:
        """Wait until a job is in one of ``states`` (default: finished in whatever way), and give it."""

        def arrived() -> bool:
            found = self.jobs()[job]
            return found.state in states if states else found.finished

        wanted = " or ".join(states) or "finished"
        self._wait(arrived, f"job {job} is not {wanted}", "slurmctld", seconds=timeout)
        return self.jobs()[job]

    # -- inside -----------------------------------------------------------------------------------------------------

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for name in ("bin", "gpu", "log", "munge", "run", "spool", "state"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "munge").chmod(0o700)
        for number in range(self.gpus):  # Slurm sets CUDA_VISIBLE_DEVICES for character devices only
            device = self.folder / "gpu" / str(number)
            if not device.is_symlink():
                device.symlink_to("/dev/null")
        key = self.folder / "munge" / "key"
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            key.chmod(0o600)
        for name in CLIENTS:  # Snakemake's Slurm plugin drops every SLURM_* variable before its inner srun
            shim = self.folder / "bin" / name
            where = shlex.quote(str(self.configuration))
            shim.write_text(f'#!/bin/sh\nSLURM_CONF={where} exec {_program(name)} "$@"\n', encoding="utf-8")
            shim.chmod(0o755)

    def _configure(self, port: int) -> None:
        host = socket.gethostname().partition(".")[0]
        text = CONFIGURATION.format(folder=self.folder, host=host, user=_user(), port=port)
        gres = f"gpu:fake:{self.gpus}" if self.gpus else "(null)"
        devices = f"{self.folder}/gpu/[0-{self.gpus - 1}]"
        listed = []
        for offset, name in enumerate(self.nodes, 1):
            (self.folder / "spool" / name).mkdir(exist_ok=True)
            text += NODE.format(name=name, host=host, port=port + offset, cpus=self.cpus, memory=self.memory, gres=gres)
            listed.append(f"NodeName={name} Name=gpu Type=fake File={devices}\n")
        self.configuration.write_text(text + PARTITIONS, encoding="utf-8")
        (self.folder / "gres.conf").write_text("".join(listed) if self.gpus else "", encoding="utf-8")

    def _start_daemons(self) -> None:
        munge = self.folder / "munge"
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "seed")] + [f"--socket={munge / 'socket'}"]
        self._launch("munged", "munged", "--foreground", "--force", *files)  # --force: /tmp may be written by all
        self._wait((munge / "socket").exists, "munged does not answer", "munged")
        self.start_controller()
        for name in self.nodes:
            self._launch(name, "slurmd", "-D", "-N", name, "-f", str(self.configuration))
        self._wait(self._idle, "the nodes do not come up", "slurmctld", *self.nodes)

    def _launch(self, name: str, program: str, *arguments: str) -> None:
        """Start a daemon in a session of its own; it shares no pipe with the caller, which may so end before it."""
        if self._pid(name):
            raise SlurmError(f"{self.folder}: {name} runs already")
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._started[name] = subprocess.Popen(
                [str(_program(program)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=_environment_without_slurm() | {"SLURM_CONF": str(self.configuration)},
                start_new_session=True,
            )
        (self.folder / "run" / f"{name}.pid").write_text(str(self._started[name].pid), encoding="utf-8")

    def _wait(
        self, condition: Callable[[], bool], complaint: str, *daemons: str, seconds: float = STUCK_SECONDS
    ) -> None:
        """Ask until the answer is yes; give up after a time, or at once when a daemon that is needed has died."""
        end = time.monotonic() + seconds
        while not condition():
            dead = [name for name in daemons if not self._pid(name)]
            if dead or time.monotonic() > end:
                why = f"{dead[0]} has died" if dead else f"not within {seconds:g} s"
                raise SlurmError(f"{complaint} ({why}); see {self.folder / 'log'}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with contextlib.suppress(SlurmError, subprocess.TimeoutExpired):
            return "is UP" in self.run("scontrol", "ping", timeout=5)
        return False

    def _idle(self) -> bool:
        return self._node_states() == dict.fromkeys(self.nodes, "idle") and not self.processes()

    def _node_states(self) -> dict[str, str]:
        """Each node's state in short; ``*`` marks one that does not answer."""
        try:
            told = self.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %t", timeout=5)
        except (SlurmError, subprocess.TimeoutExpired):
            return {}
        return dict(line.split() for line in told.splitlines())

    def _have_registered(self, names: Sequence[str]) -> bool:
        if not names:
            return True
        with contextlib.suppress(SlurmError, subprocess.TimeoutExpired):
            return "State=UNKNOWN" not in self.run("scontrol", "show", "node", ",".join(names), "--oneliner", timeout=5)
        return False

    def _names(self) -> list[str]:
        return [path.stem for path in (self.folder / "run").glob("*.pid") if not path.stem.endswith(".own")]

    def _pid(self, name: str) -> int | None:
        """The process of a daemon that lives; a number that now belongs to some other program does not count."""
        if name in self._started:
            process = self._started[name]
            return process.pid if process.poll() is None else None
        try:
            pid = int((self.folder / "run" / f"{name}.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return pid if f"{self.folder}/" in _read(pid, "cmdline") and _state(pid) != "Z" else None

    def _alive(self) -> list[str]:
        return [name for name in self._names() if self._pid(name)]

    def _end(self, name: str, first: signal.Signals) -> None:
        """Send a signal to a daemon, wait for its end, and make sure of it."""
        for number in (first, signal.SIGKILL):
            if pid := self._pid(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                with contextlib.suppress(SlurmError):
                    self._wait(lambda: not self._pid(name), f"{name} does not end", seconds=10)
        (self.folder / "run" / f"{name}.pid").unlink(missing_ok=True)

    def _kill_jobs(self, node: str = "") -> None:
        """SIGKILL what runs on a node (default: on all) until nothing is left.

        All of it is stopped first, as a machine stops at once: a slurmstepd that outlives its task by a moment would
        tell the controller that the job has failed, and a lost machine tells nothing.
        """
        while found := self.processes(node):
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            time.sleep(0.05)

    def processes(self, node: str = "") -> set[int]:
        """Every process of the jobs on a node (default: on all): slurmstepd, what it started, and so on."""
        log = f"{self.folder / 'log'}/{node}" + (".log" if node else "")
        children: dict[int, list[int]] = {}
        found: list[int] = []
        for pid in _all_processes():
            children.setdefault(_parent(pid), []).append(pid)
            if _read(pid, "comm").startswith("slurmstepd") and any(name.startswith(log) for name in _open_files(pid)):
                found.append(pid)
        for pid in found:
            found.extend(children.get(pid, ()))
        return {pid for pid in found if _state(pid) not in ("Z", "")}


@functools.cache
def _program(name: str) -> str | None:
    """The program itself, not another cluster's shim earlier on PATH; daemons lie where users do not look."""
    for place in [*os.environ.get("PATH", os.defpath).split(os.pathsep), "/usr/local/sbin", "/usr/sbin", "/sbin"]:
        path = shutil.which(name, path=place)
        if path is not None and not Path(path).read_bytes().startswith(b"#!"):
            return path
    return None


def _environment_without_slurm() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))}


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name  # variables of the environment may speak of somebody else


def _free_ports(count: int) -> int:
    """The first of ``count`` neighbouring ports on which nobody listens."""
    chance = random.SystemRandom()
    while True:
        first = chance.choice(PORTS)
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for port in range(first, first + count):
                taken.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


def _last_first(name: str) -> int:
    """Nodes end before their controller, and that before munged, which it needs."""
    return {"slurmctld": 1, "munged": 2}.get(name, 0)


def _all_processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace").replace("\0", " ")
    except OSError:
        return ""


def _state(pid: int) -> str:
    return _read(pid, "stat").rpartition(")")[2].strip()[:1]


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _open_files(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(link.readlink()))
    return found


def main() -> None:
    """``up``, ``down`` or ``env`` from a shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="start a cluster in DIR")
    for name, default in (("nodes", 1), ("cpus", 8), ("gpus", 4), ("mem", 16000), ("port", 0)):
        up.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    down = verbs.add_parser("down", help="end its jobs and daemons")
    down.add_argument("--purge", action="store_true", help="also remove DIR")
    env = verbs.add_parser("env", help="print the exports that make a shell use it")
    for verb in (up, down, env):
        verb.add_argument("folder", metavar="DIR", type=Path)
    asked = parser.parse_args()
    cluster = OneNode(asked.folder)
    try:
        if asked.verb == "up":
            cluster = OneNode(
                asked.folder, nodes=asked.nodes, cpus=asked.cpus, gpus=asked.gpus, memory=asked.mem, port=asked.port
            )
            cluster.start()
        if asked.verb == "down":
            cluster.stop(purge=asked.purge)
        else:
            print(f"export SLURM_CONF={shlex.quote(str(cluster.configuration))}")
            print(f"export PATH={shlex.quote(str(cluster.folder / 'bin'))}:$PATH")
    except SlurmError as error:
        sys.exit(f"one_node: {error}")


if __name__ == "__main__":
    main()
