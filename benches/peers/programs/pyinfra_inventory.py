"""The targets, for pyinfra. Each has a file of known hosts with its own line: pyinfra reads it for every connection."""

import json
import os
from pathlib import Path

job = json.loads(Path(os.environ["PEERS_JOB"]).read_text())
known = Path(job["known"])
targets = [
    (
        target["name"],
        {
            "ssh_hostname": target["address"],
            "ssh_port": job["port"],
            "ssh_user": job["user"],
            "ssh_key": job["key"],
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "ssh_config_file": "/dev/null",
            "ssh_known_hosts_file": str(known / target["name"]),
            "ssh_strict_host_key_checking": "yes",
        },
    )
    for target in job["targets"]
]
