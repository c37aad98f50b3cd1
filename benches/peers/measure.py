"""Runs one command and says what it cost: wall time, processor time and memory of it and all that it started.

The command runs below a process of its own that takes in orphans (PR_SET_CHILD_SUBREAPER), so that a master of OpenSSH
that went to the background counts too. It is ended, and waited for, before the count is taken.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# How often memory is looked at, in seconds.
LOOK = 0.05
# What a program prints when it is through with one pass over its targets.
PASS = b"pass-done"


@dataclass
class Cost:
    """What a command cost. Times in seconds, memory in bytes."""

    status: int
    wall: float
    cpu: float
    memory: int
    passes: list[float] = field(default_factory=list)
    """How long each pass over the targets took, the first with the connections."""
    said: str = ""
    """The end of what it printed, for the message if it failed."""


def measure(argv: list[str], env: dict[str, str], cwd: Path, timeout: float, memory: bool) -> Cost:
    """Runs a command. With `memory`, what it and its children hold is added up all the while, which costs time."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            cost = _below(argv, env, cwd, timeout, memory)
            with os.fdopen(writer, "w") as out:
                json.dump(cost.__dict__, out)
            status = 0
        except BaseException as error:  # the parent must hear of everything
            print(f"peers: {error!r}", file=sys.stderr)
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError(f"measuring {argv[0]} failed")
    return Cost(**json.loads(text))


def _below(argv: list[str], env: dict[str, str], cwd: Path, timeout: float, memory: bool) -> Cost:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    ended = os.pidfd_open(process.pid)
    said, marks, peak, over = b"", [began], 0, False
    out = process.stdout.fileno()
    watched = [out, ended]
    while True:
        ready, _, _ = select.select(watched, [], [], LOOK if memory else 1.0)
        if out in ready:
            piece = os.read(out, 1 << 16)
            now = time.monotonic()
            if not piece:
                watched.remove(out)
            marks += [now] * (said[-len(PASS) + 1 :] + piece).count(PASS)
            said = (said + piece)[-4000:]
        if memory:
            peak = max(peak, sum(_held(pid) for pid in _descendants(os.getpid())))
        # A master in the background may hold the pipe.
        if ended in ready and out not in ready:
            break
        if time.monotonic() - began > timeout and not over:
            over = True
            os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    wall = time.monotonic() - began
    _end_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    passes = [after - before for before, after in zip(marks, marks[1:])]
    text = said.decode(errors="replace")
    if over:
        text += f"\nended after {timeout:.0f} s"
    return Cost(status, wall, used.ru_utime + used.ru_stime, peak, passes, text)


def _end_all() -> None:
    """Ends what the command left in the background, and waits for it."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + 5
        for pid in _descendants(os.getpid()):
            _signal(pid, kind)
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)
            except ChildProcessError:
                return


def _signal(pid: int, kind: int) -> None:
    try:
        os.kill(pid, kind)
    except ProcessLookupError:
        pass


def children(pid: int) -> list[int]:
    """The direct children of a process, of all its threads."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:  # it has ended
        return []
    for task in tasks:
        try:
            found += [int(word) for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found


def _descendants(pid: int) -> list[int]:
    found, left = [], children(pid)
    while left:
        next_one = left.pop()
        found.append(next_one)
        left += children(next_one)
    return found


def _held(pid: int) -> int:
    """What a process holds: its own memory and its share of what it shares with others."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0
