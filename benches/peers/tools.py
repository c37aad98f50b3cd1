"""This program and its peers: how each does the same work, with the settings that its own manual gives for speed."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers import PORT, ROOT, USER, Servers, Target

PROGRAMS = Path(__file__).resolve().parent / "programs"
# The newest releases for Debian 12's Python, each in an environment of its own.
PYPI = {
    "ansible-core": "2.19.14",
    "pyinfra": "3.10.0",
    "fabric": "3.2.3",
    "parallel-ssh": "2.16.0.post1",
}
# Program and the Debian package that has it.
DEBIAN = {
    "/usr/sbin/sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "pdsh": "pdsh",
    "clush": "clustershell",
    "unshare": "util-linux",
    "ip": "iproute2",
    "xargs": "findutils",
}
DEBIAN_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Work:
    """What is to be done, on so many targets."""

    kind: str
    """`reads` and `changes` are one after another on one target, `fan` is one `true` on each of many."""
    targets: int
    times: int = 1
    """How many reads, or how many passes over all targets."""


@dataclass
class Command:
    """How a tool does it."""

    argv: list[str]
    env: dict[str, str]


class Bench:
    """Where everything is."""

    def __init__(self, scratch: Path, program: Path, servers: Servers, fanout: int):
        self.scratch, self.program, self.servers, self.fanout = scratch, program, servers, fanout
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(ROOT / "home"),
            "LANG": "C.UTF-8",
            "USER": "root",
        }
        self.known = ROOT / "known"
        self.known.mkdir()
        for target in servers.targets:
            line = f"[{target.address}]:{PORT} {servers.host_key}\n"
            (self.known / target.name).write_text(line)

    def among(self, work: Work) -> list[Target]:
        """The targets of a work."""
        return self.servers.targets[: work.targets]

    def job(self, work: Work) -> Path:
        """Writes down a work for a program in Python."""
        path = ROOT / f"job-{work.kind}-{work.targets}-{work.times}.json"
        reads = work.times if work.kind == "reads" else 0
        job = {
            "targets": [target.__dict__ for target in self.among(work)],
            "user": USER,
            "port": PORT,
            "key": str(self.servers.key),
            "host_key": self.servers.host_key,
            "known": str(self.known),
            "fanout": self.fanout,
            "reads": reads,
            "passes": work.times if work.kind == "fan" else 0,
        }
        path.write_text(json.dumps(job))
        return path

    def list(self, work: Work, name: str, line) -> Path:
        """Writes down the targets of a work, a line each."""
        path = ROOT / f"{name}-{work.targets}"
        path.write_text("".join(line(target) + "\n" for target in self.among(work)))
        return path

    def python(self, peer: str, program: str) -> str:
        """A program of the environment of a peer from PyPI."""
        return str(self.scratch / "venv" / peer / "bin" / program)


class Tool:
    """A tool; `name` is what the table calls it."""

    name = ""
    note = ""

    def version(self, bench: Bench) -> str:
        """Returns its version."""
        raise NotImplementedError

    def command(self, bench: Bench, work: Work) -> Command | None:
        """Returns how it does the work; none if that is not for it."""
        raise NotImplementedError


def _said(argv: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    return (done.stdout + done.stderr).strip()


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+\S*", text)
    return found.group(0).rstrip(",") if found else text


class UpgradeHost(Tool):
    name = "upgrade-host"
    note = "the journal on disk, its commits durable"

    def version(self, bench: Bench) -> str:
        return _number(_said([str(bench.program), "--version"]))

    def command(self, bench: Bench, work: Work) -> Command | None:
        config = ROOT / "upgrade-host.toml"
        if not config.exists():
            config.write_text(self._config(bench))
        state = bench.scratch / "state"
        shutil.rmtree(state, ignore_errors=True)
        first, last = bench.among(work)[0].name, bench.among(work)[-1].name
        on = first if first == last else f"t[{first[1:]}:{last[1:]}]"
        words = [str(bench.program), "--config", str(config), "--state", str(state)]
        match work.kind:
            case "reads":
                script = f'for i in 0..{work.times} {{ output("true"); }}'
                words += ["run", "--on", on, "-e", script]
            case "changes":
                script = f'for i in 0..{work.times} {{ sh("true"); }}'
                words += ["run", "--on", on, "-e", script]
            case "fan" if work.times == 1:
                words += ["run", "--on", on, "--read", "--max", str(bench.fanout), "--", "true"]
            case "fan":
                script = (
                    f'for i in 0..{work.times} {{ each(targets("{on}"), #{{ max: {bench.fanout} }},'
                    ' |t| output("true")); print("pass-done"); }'
                )
                words += ["run", "-e", script]
        return Command(words, bench.env)

    @staticmethod
    def _config(bench: Bench) -> str:
        text = (
            f'[defaults]\nuser = "{USER}"\nidentity = "{bench.servers.key}"\n'
            f'known_hosts = "{bench.servers.known_hosts}"\nssh_config = false\n'
        )
        for target in bench.servers.targets:
            text += f'[targets.{target.name}]\naddress = "{target.address}"\nport = {PORT}\n'
        return text


class OpenSsh(Tool):
    name = "OpenSSH"
    note = "one after another: a ControlMaster and an `ssh` per command; on many: `xargs -P`, an `ssh` per target"

    def version(self, bench: Bench) -> str:
        return _number(_said(["ssh", "-V"]))

    def command(self, bench: Bench, work: Work) -> Command | None:
        config = str(bench.servers.ssh_config)
        if work.kind in ("reads", "changes"):
            address = bench.among(work)[0].address
            master = f"-o ControlMaster=auto -o ControlPersist=60 -o ControlPath={ROOT}/cm-%C"
            ssh = f"ssh -F {config} {master} {address} true"
            loop = f"i=0; while [ $i -lt {work.times} ]; do {ssh} || exit 1; i=$((i+1)); done"
            return Command(["sh", "-c", loop], bench.env)
        if work.times > 1:
            return None
        hosts = bench.list(work, "addresses", lambda target: target.address)
        words = ["xargs", "-a", str(hosts), "-P", str(bench.fanout), "-I", "{}"]
        return Command([*words, "ssh", "-F", config, "{}", "true"], bench.env)


class Pdsh(Tool):
    name = "pdsh"
    note = "`-R ssh`, the fanout of all"

    def version(self, bench: Bench) -> str:
        return _number(_said(["pdsh", "-V"]))

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind != "fan" or work.times > 1:
            return None
        hosts = bench.list(work, "addresses", lambda target: target.address)
        env = {**bench.env, "PDSH_SSH_ARGS_APPEND": f"-F {bench.servers.ssh_config}"}
        words = ["pdsh", "-S", "-R", "ssh", "-f", str(bench.fanout), "-l", USER]
        return Command([*words, "-w", f"^{hosts}", "true"], env)


class Clush(Tool):
    name = "clush"
    note = "the fanout of all"

    def version(self, bench: Bench) -> str:
        return _number(_said(["clush", "--version"]))

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind != "fan" or work.times > 1:
            return None
        hosts = bench.list(work, "addresses", lambda target: target.address)
        words = ["clush", "-S", "-f", str(bench.fanout), "-o", f"-F {bench.servers.ssh_config}"]
        return Command([*words, "--hostfile", str(hosts), "true"], bench.env)


class ParallelSsh(Tool):
    name = "parallel-ssh"
    note = "one client for all, its pool as large as the fanout of all; it cannot check host keys"

    def version(self, bench: Bench) -> str:
        return PYPI["parallel-ssh"]

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind == "changes":
            return None
        program = str(PROGRAMS / "parallel_ssh.py")
        return Command(
            [bench.python("parallel-ssh", "python"), program, str(bench.job(work))], bench.env
        )


class Fabric(Tool):
    name = "fabric"
    note = "as many threads as the fanout of all"

    def version(self, bench: Bench) -> str:
        return PYPI["fabric"]

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind == "changes":
            return None
        program = str(PROGRAMS / "fabric_ssh.py")
        return Command([bench.python("fabric", "python"), program, str(bench.job(work))], bench.env)


class Pyinfra(Tool):
    name = "pyinfra"
    note = "`--parallel` with the fanout of all; the reads are one operation"

    def version(self, bench: Bench) -> str:
        return PYPI["pyinfra"]

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind == "changes" or (work.kind == "fan" and work.times > 1):
            return None
        env = {**bench.env, "PEERS_JOB": str(bench.job(work))}
        words = [bench.python("pyinfra", "pyinfra"), "--yes", "--parallel", str(bench.fanout)]
        inventory, deploy = PROGRAMS / "pyinfra_inventory.py", PROGRAMS / "pyinfra_deploy.py"
        return Command([*words, str(inventory), str(deploy)], env)


class Ansible(Tool):
    """`command`, as its manual has it: a program in Python goes to the target for each."""

    name = "ansible-core"
    note = "pipelining, ControlPersist, forks as the fanout of all, no facts; the module `command`"
    module = "command"

    def version(self, bench: Bench) -> str:
        return PYPI["ansible-core"]

    def command(self, bench: Bench, work: Work) -> Command | None:
        if work.kind == "changes" or (work.kind == "fan" and work.times > 1):
            return None
        config = ROOT / "ansible.cfg"
        config.write_text(self._config(bench))
        hosts = bench.list(
            work,
            "ansible",
            lambda target: f"{target.name} ansible_host={target.address} ansible_port={PORT}",
        )
        env = {**bench.env, "ANSIBLE_CONFIG": str(config)}
        if work.kind == "reads":
            words = [bench.python("ansible-core", "ansible-playbook"), "-i", str(hosts)]
            playbook = str(PROGRAMS / f"ansible_{self.module}.yml")
            return Command([*words, "-e", f"reads={work.times}", playbook], env)
        words = [bench.python("ansible-core", "ansible"), "-i", str(hosts), "all"]
        return Command([*words, "-m", self.module, "-a", "true"], env)

    @staticmethod
    def _config(bench: Bench) -> str:
        return f"""[defaults]
remote_user = {USER}
private_key_file = {bench.servers.key}
forks = {bench.fanout}
gathering = explicit
host_key_checking = True
interpreter_python = {DEBIAN_PYTHON}
local_tmp = {ROOT}/ansible
remote_tmp = {ROOT}/home/ansible
[ssh_connection]
pipelining = True
control_path_dir = {ROOT}/ansible-cp
ssh_args = -F {bench.servers.ssh_config} -o ControlMaster=auto -o ControlPersist=60
"""


class AnsibleRaw(Ansible):
    """`raw`, which sends the command as it is."""

    name = "ansible-core, `raw`"
    note = "as above; the module `raw`, which sends the command as it is, as the other tools do"
    module = "raw"


ALL: list[Tool] = [
    UpgradeHost(),
    OpenSsh(),
    ParallelSsh(),
    Pdsh(),
    Clush(),
    Fabric(),
    Pyinfra(),
    Ansible(),
    AnsibleRaw(),
]


def missing() -> list[str]:
    """The Debian packages that are wanted and not there."""
    packages = {package for word, package in DEBIAN.items() if shutil.which(word) is None}
    if not Path(DEBIAN_PYTHON).exists():
        packages.add("python3")
    made = subprocess.run(
        [DEBIAN_PYTHON, "-c", "import ensurepip"], capture_output=True, check=False
    )
    if made.returncode != 0:
        packages.add("python3-venv")
    return sorted(packages)


def install(scratch: Path) -> None:
    """Makes the environment of each peer from PyPI, unless it is there."""
    for name, version in PYPI.items():
        place = scratch / "venv" / name
        done = place / f"installed-{version}"
        if done.exists():
            continue
        print(f"peers: installing {name} {version}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([DEBIAN_PYTHON, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{name}=={version}"], check=True)
        done.touch()
