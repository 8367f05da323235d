"""Opens a folder as a target of PyPI's dissect.target and prints, as JSON, which system it takes it for, its users and
what its authentication log says.

Usage: target.py FOLDER
"""

import json
import sys

from dissect.target import Target


def main(folder):
    target = Target.open(folder)
    users = [[user.name, user.uid, str(user.home), user.shell] for user in target.users()]
    log = []
    if target.has_function("authlog"):
        log = [[entry.ts.isoformat(), entry.service, entry.pid, entry.message] for entry in target.authlog()]
    print(json.dumps({"os": target.os, "hostname": target.hostname, "users": users, "authlog": log}))


if __name__ == "__main__":
    main(sys.argv[1])
