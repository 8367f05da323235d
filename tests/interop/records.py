"""Validates every record of an opened package with PyPI's jsonschema against schemas/v1, and recomputes the Merkle root
and the link between records and files with nothing of this project's code; prints what it counted as JSON.

Usage: records.py OPENED_PACKAGE LEDGER SCHEMAS [REPORT]
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource


def validators(schemas):
    documents = {path.relative_to(schemas): json.loads(path.read_text()) for path in schemas.glob("*.schema.json")}
    documents |= {path.relative_to(schemas): json.loads(path.read_text()) for path in schemas.glob("state/*.schema.json")}
    resources = [(document["$id"], Resource.from_contents(document)) for document in documents.values()]
    registry = Registry().with_resources(resources)
    for document in documents.values():
        Draft202012Validator.check_schema(document)
    return {
        str(path).removesuffix(".schema.json"): Draft202012Validator(document, registry=registry)
        for path, document in documents.items()
    }


def without_duplicates(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"a key stands twice: {keys}")
    return dict(pairs)


def parse(text):
    return json.loads(text, object_pairs_hook=without_duplicates)


class Check:
    def __init__(self, schemas):
        self.validators = validators(schemas)
        self.counts = {name: 0 for name in self.validators}

    def record(self, schema, text, where):
        value = parse(text)
        faults = [f"{where}: {fault.json_path}: {fault.message}" for fault in self.validators[schema].iter_errors(value)]
        if faults:
            sys.exit("\n".join(faults))
        self.counts[schema] += 1
        return value

    def lines(self, schema, path):
        raw = path.read_bytes()
        if raw and not raw.endswith(b"\n"):
            sys.exit(f"{path}: the last line has no end")
        for number, line in enumerate(raw.split(b"\n")[:-1], 1):
            yield line, self.record(schema, line, f"{path.name}:{number}")


def merkle_root(leaves):
    """RFC 9162 2.1.1, as written there."""
    if not leaves:
        return hashlib.sha256()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0])
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    left, right = merkle_root(leaves[:split]), merkle_root(leaves[split:])
    return hashlib.sha256(b"\1" + left.digest() + right.digest())


def expect(what, found, stated):
    if found != stated:
        sys.exit(f"{what}: found {found}, stated {stated}")


def main(package, ledger, schemas, report=None):
    check = Check(schemas)
    collection = check.record("collection", (package / "collection.json").read_bytes(), "collection.json")
    seal = check.record("seal", (package / "seal/seal.json").read_bytes(), "seal.json")
    leaves, outcomes = [], {}
    for number, (line, item) in enumerate(check.lines("item", package / "items.jsonl"), 1):
        leaves.append(line)
        expect(f"items.jsonl:{number}: id", item["id"], number)
        key = (item["artifact"], item["outcome"])
        outcomes[key] = outcomes.get(key, 0) + 1
        if item["source_path"] is not None:
            raw = base64.b64decode(item["source_path_raw"], validate=True)
            expect(f"items.jsonl:{number}: source_path", raw.decode(), item["source_path"])
        if item["member"] is not None:
            content = (package / item["member"]).read_bytes()
            expect(f"{item['member']}: size", len(content), item["size"])
            expect(f"{item['member']}: digest", hashlib.sha256(content).hexdigest(), item["sha256"])
    expect("items_root", merkle_root(leaves).hexdigest(), seal["items_root"])
    expect("items", len(leaves), seal["items"])
    stated = {}
    for entry in collection["counts"]:
        artifact = entry.pop("artifact")
        stated |= {(artifact, outcome): count for outcome, count in entry.items() if count}
    expect("counts of collection.json", outcomes, stated)
    for _ in check.lines("action", package / "actions.jsonl"):
        pass
    for table in sorted(package.glob("data/state/*.jsonl")):
        for _ in check.lines(f"state/{table.stem}", table):
            pass
    for _, line in check.lines("custody-line", ledger):
        check.record("custody-entry", line["entry"], "an entry of the ledger")
    if report:
        check.record("report", report.read_bytes(), report.name)
    print(json.dumps(check.counts))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
