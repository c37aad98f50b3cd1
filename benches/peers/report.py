"""What came out: medians, the file with all of it, and the tables in docs/performance.md."""

import json
import os
import platform
import statistics
from pathlib import Path

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
NAMES = {
    "reads": "{times} reads, one after another on one target, connection included",
    "changes": "The same with receipts: {times} changes",
    "fan": "`true` on {targets} targets",
    "again": "Again, with the sessions warm: `true` on {targets} targets, each further pass",
}


def key(work) -> str:
    """The name of a work in the file of results."""
    return f"{work.kind}-{work.targets}-{work.times}"


class Results:
    """All that was measured: by work, by tool, a list of costs."""

    def __init__(self, header: dict):
        self.header, self.costs = header, {}

    def add(self, work, tool: str, cost, servers: float, memory: bool) -> None:
        """Takes one measurement; with `memory` only that counts of it."""
        entry = self.costs.setdefault(
            key(work), {"work": work.__dict__, "tools": {}}
        )["tools"].setdefault(tool, {"wall": [], "cpu": [], "passes": [], "memory": 0, "servers": []})
        if memory:
            entry["memory"] = max(entry["memory"], cost.memory)
        else:
            entry["wall"].append(cost.wall)
            entry["cpu"].append(cost.cpu)
            entry["servers"].append(servers)
            entry["passes"] += cost.passes[1:]

    def write(self, path: Path) -> None:
        """Writes the file of results."""
        path.write_text(json.dumps({**self.header, "results": self.costs}, indent=1) + "\n")


def machine() -> str:
    """The machine in a few words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    release = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {release}"


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count else "–"


def _per(seconds: float, targets: int) -> str:
    return f"{seconds / targets * 1000:.1f} ms"


def _rows(entry: dict) -> list[str]:
    work, tools = entry["work"], entry["tools"]
    many, again = work["targets"] > 1, work["kind"] == "fan" and work["times"] > 1
    times = {
        name: _median(tool["passes"] if again else tool["wall"])
        for name, tool in tools.items()
        if tool["passes" if again else "wall"]
    }
    own = times.get("upgrade-host")
    unit = "a target" if many else "a command"
    count = work["targets"] if many else work["times"]
    if again:
        lines = ["| | wall | a target | ours is so many times as fast |", "| --- | --- | --- | --- |"]
    else:
        lines = [
            f"| | wall | client CPU | {unit} | memory | ours is so many times as fast |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for name, wall in sorted(times.items(), key=lambda pair: pair[1]):
        faster = f"{wall / own:.1f}" if own and name != "upgrade-host" else ""
        if again:
            lines.append(f"| {name} | {_time(wall)} | {_per(wall, count)} | {faster} |")
            continue
        cpu = _median(tools[name]["cpu"])
        lines.append(
            f"| {name} | {_time(wall)} | {_time(cpu)} | {_per(cpu, count)} |"
            f" {_size(tools[name]['memory'])} | {faster} |"
        )
    return lines


def _ratios(costs: dict, kind: str) -> dict[str, float]:
    for entry in costs.values():
        if entry["work"]["kind"] == kind:
            tools = {name: _median(tool["wall"]) for name, tool in entry["tools"].items() if tool["wall"]}
            own = tools.pop("upgrade-host", None)
            return {name: wall / own for name, wall in tools.items()} if own else {}
    return {}


def _bars(costs: dict) -> list[tuple[str, str, str, bool]]:
    """What is to be reached: what, the bar, what was measured, whether it is reached."""
    bars = []
    reads, changes = _ratios(costs, "reads"), _ratios(costs, "changes")
    asked = [("OpenSSH", 3), ("parallel-ssh", 8), ("fabric", 8), ("ansible-core", 50)]
    for name, least in asked:
        if name in reads:
            bars.append((f"reads, against {name}", f"{least} times as fast", reads[name], reads[name] >= least))
    # Others have no receipts: they are compared with what they do instead.
    if "OpenSSH" in changes:
        ratio = changes["OpenSSH"]
        bars.append(("with receipts, against OpenSSH", "1.5 times as fast", ratio, ratio >= 1.5))
    rows = [(what, bar, f"{ratio:.1f} times", met) for what, bar, ratio, met in bars]
    for entry in costs.values():
        work, tools = entry["work"], entry["tools"]
        own = tools.get("upgrade-host")
        if work["kind"] != "fan" or own is None or not own["wall"]:
            continue
        count = work["targets"]
        if work["times"] > 1:
            warm = _median(own["passes"]) / count * 1000
            rows.append((f"again on {count}", "2.5 ms a target", f"{warm:.1f} ms", warm <= 2.5))
            continue
        others = {name: tool for name, tool in tools.items() if name != "upgrade-host" and tool["wall"]}
        if count not in (200, 1000) or not others:
            continue
        wall = _median(own["wall"])
        fastest = min(others, key=lambda name: _median(others[name]["wall"]))
        best = _median(others[fastest]["wall"])
        rows.append((
            f"{count} targets, wall", f"{fastest}, the fastest peer: {_time(best)}", _time(wall), wall <= best
        ))
        cpu = _median(own["cpu"]) / count * 1000
        least = min(others, key=lambda name: _median(others[name]["cpu"]))
        best = _median(others[least]["cpu"]) / count * 1000
        rows.append((
            f"{count} targets, client CPU",
            f"3 ms a target, and less than {least}: {best:.1f} ms",
            f"{cpu:.1f} ms",
            cpu <= min(3.0, best),
        ))
        if count == 1000 and own["memory"]:
            rows.append(("1000 targets, memory", "150 MB", _size(own["memory"]), own["memory"] < 150e6))
    return rows


def _linear(costs: dict) -> list[str]:
    """What a target costs, by how many there are."""
    found = [
        (entry["work"]["targets"], entry["tools"]["upgrade-host"])
        for entry in costs.values()
        if entry["work"]["kind"] == "fan"
        and entry["work"]["times"] == 1
        and entry["tools"].get("upgrade-host", {}).get("wall")
    ]
    if len(found) < 2:
        return []
    lines = ["", "What a target costs does not grow with their number:", ""]
    lines += ["| targets | wall, a target | client CPU, a target | memory |", "| --- | --- | --- | --- |"]
    for count, tool in sorted(found, key=lambda pair: pair[0]):
        wall, cpu = _per(_median(tool["wall"]), count), _per(_median(tool["cpu"]), count)
        lines.append(f"| {count} | {wall} | {cpu} | {_size(tool['memory'])} |")
    return lines


def markdown(results: Results, tools) -> str:
    """The tables."""
    header, costs = results.header, results.costs
    lines = [f"{header['machine']}; {header['settings']}.", ""]
    lines += ["| | version | how |", "| --- | --- | --- |"]
    lines += [f"| {tool.name} | {header['versions'][tool.name]} | {tool.note} |" for tool in tools]
    lines += ["", "| | bar | measured | |", "| --- | --- | --- | --- |"]
    for what, bar, measured, met in _bars(costs):
        lines.append(f"| {what} | {bar} | {measured} | {'reached' if met else '**not reached**'} |")
    lines += _linear(costs)
    for entry in costs.values():
        work = entry["work"]
        kind = "again" if work["kind"] == "fan" and work["times"] > 1 else work["kind"]
        lines += ["", f"{NAMES[kind].format(**work)}:", ""]
        lines += _rows(entry)
    return "\n".join(lines) + "\n"


def put(path: Path, text: str) -> None:
    """Puts the tables between their marks in a file."""
    whole = path.read_text()
    before, rest = whole.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
