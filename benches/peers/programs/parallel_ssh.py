"""Runs `true` with parallel-ssh: on all targets side by side, or often on one. It cannot check host keys."""

import json
import sys
from pathlib import Path

from pssh.clients import ParallelSSHClient, SSHClient

job = json.loads(Path(sys.argv[1]).read_text())
hosts = [target["address"] for target in job["targets"]]
login = {
    "user": job["user"],
    "port": job["port"],
    "pkey": job["key"],
    "allow_agent": False,
    "identity_auth": False,
    "num_retries": 1,
}
if job["reads"]:
    client = SSHClient(hosts[0], **login)
    for _ in range(job["reads"]):
        output = client.run_command("true")
        client.wait_finished(output)
        if output.exit_code != 0:
            sys.exit(f"status {output.exit_code}")
else:
    many = ParallelSSHClient(hosts, pool_size=job["fanout"], **login)
    for _ in range(job["passes"]):
        outputs = many.run_command("true")
        many.join(outputs)
        failed = [output.host for output in outputs if output.exit_code != 0]
        if failed or len(outputs) != len(hosts):
            sys.exit(f"failed: {failed}")
        print("pass-done", flush=True)
