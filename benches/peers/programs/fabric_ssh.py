"""Runs `true` with Fabric: on all targets with so many threads, or often on one. Host keys are checked."""

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fabric import Config, Connection
from paramiko import Ed25519Key, RejectPolicy

job = json.loads(Path(sys.argv[1]).read_text())
config = Config(overrides={"load_ssh_configs": False})
kind, text = job["host_key"].split()
host_key = Ed25519Key(data=base64.b64decode(text))


def connection(target):
    login = {"key_filename": job["key"], "allow_agent": False, "look_for_keys": False}
    made = Connection(
        target["address"], user=job["user"], port=job["port"], config=config, connect_kwargs=login
    )
    made.client.set_missing_host_key_policy(RejectPolicy())
    made.client.get_host_keys().add(f"[{target['address']}]:{job['port']}", kind, host_key)
    return made


def read(made):
    # It raises an error for any status but 0.
    made.run("true", hide=True, in_stream=False)


connections = [connection(target) for target in job["targets"]]
if job["reads"]:
    for _ in range(job["reads"]):
        read(connections[0])
else:
    with ThreadPoolExecutor(job["fanout"]) as pool:
        for _ in range(job["passes"]):
            list(pool.map(read, connections))
            print("pass-done", flush=True)
for made in connections:
    made.close()
