"""Reads every member of a package with Python's own zipfile; prints name and SHA-256 of each, in order, as JSON.

Usage: members.py PACKAGE
"""

import hashlib
import json
import sys
import zipfile


def main(package):
    with zipfile.ZipFile(package) as archive:
        broken = archive.testzip()
        if broken is not None:
            sys.exit(f"{package}: zipfile finds {broken} broken")
        members = []
        for member in archive.infolist():
            with archive.open(member) as content:
                members.append([member.filename, hashlib.file_digest(content, "sha256").hexdigest()])
    print(json.dumps(members))


if __name__ == "__main__":
    main(sys.argv[1])
