"""The servers: one sshd that answers on every address of the loopback network, and a user with a plain shell.

All of it lives in namespaces of this process, so that nothing of it is seen outside and nothing is left when it ends:
a network in which there is only a loopback, a /run of its own, and an /etc/passwd with one user more.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from measure import children

ROOT = Path("/run/peers")
USER, UID = "peers", 59417
PORT = 2022
# What every client and the server can do, so that all pay for the same cryptography.
KEX, CIPHER, MAC, KEY = "curve25519-sha256", "aes128-ctr", "hmac-sha2-256", "ssh-ed25519"
# The same key exchange by its older name, the only one that some know.
OLD_KEX = f"{KEX}@libssh.org"


@dataclass(frozen=True)
class Target:
    """A name and the address that it has."""

    name: str
    address: str


def targets(count: int) -> list[Target]:
    """So many targets, each with an address of its own."""
    return [
        Target(f"t{number:05}", f"127.1.{number // 250}.{number % 250 + 1}")
        for number in range(1, count + 1)
    ]


class Servers:
    """A running sshd with its files."""

    def __init__(self, count: int):
        self.targets = targets(count)
        self.key = ROOT / "id"
        self.known_hosts = ROOT / "known_hosts"
        self.ssh_config = ROOT / "ssh_config"
        _mount()
        _user()
        _make_key(ROOT / "host")
        _make_key(self.key)
        (ROOT / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        # A line for each, as a fleet has it.
        self.host_key = " ".join((ROOT / "host.pub").read_text().split()[:2])
        lines = (f"[{target.address}]:{PORT} {self.host_key}\n" for target in self.targets)
        self.known_hosts.write_text("".join(lines))
        self.ssh_config.write_text(self._client())
        (ROOT / "sshd_config").write_text(_server())
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(ROOT / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stderr=(ROOT / "sshd.log").open("w"),
        )
        self._wait_ready()

    def _client(self) -> str:
        return f"""Host *
  Port {PORT}
  User {USER}
  IdentityFile {self.key}
  IdentitiesOnly yes
  IdentityAgent none
  BatchMode yes
  StrictHostKeyChecking yes
  UserKnownHostsFile {self.known_hosts}
  GlobalKnownHostsFile /dev/null
  UpdateHostKeys no
  PreferredAuthentications publickey
  GSSAPIAuthentication no
  LogLevel ERROR
"""

    def _wait_ready(self) -> None:
        end = time.monotonic() + 10
        ssh = ["ssh", "-F", str(self.ssh_config), self.targets[0].address, "true"]
        quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        while subprocess.run(ssh, **quiet, check=False).returncode != 0:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("sshd does not answer:\n" + (ROOT / "sshd.log").read_text())
            time.sleep(0.05)

    def wait_idle(self) -> None:
        """Waits until no connection is left, so that none burdens what is measured next."""
        end = time.monotonic() + 60
        while children(self.process.pid):
            if time.monotonic() > end:
                raise RuntimeError("connections are left, and do not end")
            time.sleep(0.02)

    def cpu(self) -> float:
        """The processor time, in seconds, of all connections that are over."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Ends sshd, and removes what a run may have left at its targets."""
        self.process.terminate()
        self.process.wait()
        left = (f"/var/tmp/upgrade-host-{UID}", *Path("/var/tmp").glob(f"upgrade-host-{UID}*"))
        subprocess.run(["rm", "-rf", *map(str, left)], check=True)


def _mount() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "peers", "/run"], check=True)
    for name in ("sshd", "peers", "peers/home"):
        Path("/run", name).mkdir(mode=0o755)


def _user() -> None:
    """Adds the user where only this namespace sees it. Its shell is /bin/sh: it reads no files of its own."""
    passwd = ROOT / "passwd"
    line = f"{USER}:x:{UID}:{UID}::{ROOT}/home:/bin/sh\n"
    passwd.write_text(Path("/etc/passwd").read_text() + line)
    os.chown(ROOT / "home", UID, UID)
    subprocess.run(["mount", "--bind", str(passwd), "/etc/passwd"], check=True)


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _server() -> str:
    return f"""ListenAddress 0.0.0.0:{PORT}
HostKey {ROOT}/host
AuthorizedKeysFile {ROOT}/authorized_keys
StrictModes no
UsePAM no
UseDNS no
PidFile none
LogLevel ERROR
PrintMotd no
PrintLastLog no
MaxStartups 4096
AllowUsers {USER}
KexAlgorithms {KEX},{OLD_KEX}
Ciphers {CIPHER}
MACs {MAC}
HostKeyAlgorithms {KEY}
PubkeyAcceptedAlgorithms {KEY}
Subsystem sftp internal-sftp
"""
