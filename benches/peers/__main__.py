"""Measures this program beside its peers: the same work on the same servers, taking turns.

    python3 benches/peers            all of it, about an hour; as root, on Debian
    python3 benches/peers --quick    a few minutes, to try it; writes no table

It needs a release build (`cargo build --release`), packages of Debian, and PyPI for the peers that are not in Debian; it
says what is missing. It writes target/peers/results.json, and the table in docs/performance.md.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

import report
import tools
from measure import measure

REPOSITORY = Path(__file__).resolve().parents[2]
INSIDE = "UPGRADE_HOST_PEERS_INSIDE"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 benches/peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one round, few targets, no table")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default 5)")
    parser.add_argument("--targets", type=int, nargs="+", help="on how many targets (default 100 200 300 1000)")
    parser.add_argument("--reads", type=int, help="how many commands one after another (default 100)")
    parser.add_argument("--passes", type=int, default=4, help="how many passes with warm sessions (default 4)")
    parser.add_argument("--fanout", type=int, default=64, help="on how many targets at once (default 64)")
    parser.add_argument("--only", nargs="+", metavar="TOOL", help="only these tools")
    parser.add_argument("--work", nargs="+", choices=["reads", "changes", "fan", "again"], help="only this work")
    parser.add_argument("--patience", type=float, default=60,
                        help="what takes longer than so many seconds is measured once only (default 60)")
    parser.add_argument("--timeout", type=float, default=900, help="what takes longer is ended (default 900)")
    parser.add_argument("--program", type=Path, default=REPOSITORY / "target/release/upgrade-host")
    parser.add_argument("--scratch", type=Path, default=REPOSITORY / "target/peers",
                        help="where the peers and the journal are")
    parser.add_argument("--shell", action="store_true",
                        help="measure nothing: open a shell beside the servers, to look closer; says how each tool is called")
    parser.add_argument("--no-table", action="store_true", help="do not write docs/performance.md")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.targets = options.targets or ([20] if options.quick else [100, 200, 300, 1000])
    options.reads = options.reads or (20 if options.quick else 100)
    options.scratch = options.scratch.resolve()
    options.program = options.program.resolve()
    return options


def ready(options: argparse.Namespace) -> None:
    """Says what is missing, and installs the peers from PyPI."""
    if os.geteuid() != 0:
        sys.exit("peers: it must be root, to run an sshd in a network of its own")
    if missing := tools.missing():
        sys.exit(f"peers: missing; install with: apt-get install {' '.join(missing)}")
    if not options.program.exists():
        sys.exit(f"peers: {options.program} is not there; make it with: cargo build --release")
    unknown = set(options.only or []) - {tool.name for tool in tools.ALL}
    if unknown:
        sys.exit(f"peers: no tool {', '.join(sorted(unknown))}; there are: {', '.join(tool.name for tool in tools.ALL)}")
    options.scratch.mkdir(parents=True, exist_ok=True)
    tools.install(options.scratch)


def inside() -> None:
    """Starts this program once more in namespaces of its own, in which everything ends with it."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    env = {**os.environ, INSIDE: "1"}
    done = subprocess.run([*words, sys.executable, *sys.argv], env=env, check=False)
    sys.exit(done.returncode)


def works(options: argparse.Namespace) -> list[tools.Work]:
    wanted = options.work or ["reads", "changes", "fan", "again"]
    found = []
    if "reads" in wanted:
        found.append(tools.Work("reads", 1, options.reads))
    if "changes" in wanted:
        found.append(tools.Work("changes", 1, options.reads))
    if "fan" in wanted:
        found += [tools.Work("fan", count) for count in sorted(options.targets)]
    if "again" in wanted:
        found.append(tools.Work("fan", max(options.targets), options.passes + 1))
    return found


class Rounds:
    """Everything is measured once in each round; what takes long, in the first only."""

    def __init__(self, options, bench: tools.Bench, chosen: list[tools.Tool], results: report.Results):
        self.options, self.bench, self.chosen, self.results = options, bench, chosen, results
        self.slow: set[tuple[tools.Work, str]] = set()

    def run(self) -> None:
        for number in range(self.options.rounds):
            for work in works(self.options):
                for tool in self.chosen:
                    if (work, tool.name) not in self.slow:
                        self.one(work, tool, f"round {number + 1}", memory=False)
            self.results.write(self.options.scratch / "results.json")
        # Looking at memory takes time, so it has a round of its own.
        for work in works(self.options):
            for tool in self.chosen:
                if work.times == 1 or work.kind != "fan":
                    self.one(work, tool, "memory", memory=True)
        self.results.write(self.options.scratch / "results.json")

    def one(self, work: tools.Work, tool: tools.Tool, what: str, memory: bool) -> None:
        command = tool.command(self.bench, work)
        if command is None:
            return
        servers = self.bench.servers
        servers.wait_idle()
        before = servers.cpu()
        cost = measure(command.argv, command.env, self.options.scratch, self.options.timeout, memory)
        servers.wait_idle()
        theirs = servers.cpu() - before
        name = report.key(work)
        if cost.status != 0:
            print(f"{what} {name:>14} {tool.name}: status {cost.status}\n{cost.said[-400:]}", flush=True)
            self.slow.add((work, tool.name))
            return
        if cost.wall > self.options.patience:
            self.slow.add((work, tool.name))
        self.results.add(work, tool.name, cost, theirs, memory)
        warm = "".join(f" {took:.2f}" for took in cost.passes)
        print(
            f"{what} {name:>14} {tool.name:<20} wall {cost.wall:8.3f}  cpu {cost.cpu:8.3f}"
            f"  servers {theirs:7.2f}  memory {cost.memory / 1e6:6.1f} MB{warm}",
            flush=True,
        )


def shell(bench: tools.Bench, chosen: list[tools.Tool], wanted: list[tools.Work]) -> None:
    """Says how each tool does each work, and opens a shell in which that can be done."""
    for work in wanted:
        for tool in chosen:
            if command := tool.command(bench, work):
                print(f"{report.key(work)}, {tool.name}: {shlex.join(command.argv)}", flush=True)
    subprocess.run(["sh"], env=bench.env, cwd=bench.scratch, check=False)


def main() -> None:
    options = arguments()
    if INSIDE not in os.environ:
        ready(options)
        inside()
    from servers import CIPHER, KEX, KEY, MAC, Servers

    servers = Servers(max(options.targets))
    try:
        bench = tools.Bench(options.scratch, options.program, servers, options.fanout)
        chosen = [tool for tool in tools.ALL if not options.only or tool.name in options.only]
        if options.shell:
            return shell(bench, chosen, works(options))
        header = {
            "machine": report.machine(),
            "settings": f"{options.rounds} rounds, medians; {options.fanout} targets at once; {KEX}, {CIPHER}, {MAC}, {KEY}",
            "versions": {tool.name: tool.version(bench) for tool in chosen},
        }
        results = report.Results(header)
        Rounds(options, bench, chosen, results).run()
    finally:
        servers.end()
    text = report.markdown(results, chosen)
    if options.quick or options.no_table:
        print(text)
    else:
        report.put(REPOSITORY / "docs/performance.md", text)


if __name__ == "__main__":
    main()
