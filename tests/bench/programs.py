"""Owns the programs that the benchmarks measure: where they come from and what one run of a command took; refuses to judge it."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATIC_TARGET = "x86_64-unknown-linux-musl"


@dataclass
class Run:
    """What one run took. The peak is that of the largest of its processes."""

    status: int
    seconds: float
    user: float
    system: float
    peak_mib: float

    @property
    def processor(self):
        return self.user + self.system


def run_measured(command, folder, said, errors=subprocess.STDOUT):
    """Runs a command in a folder; what it says goes to the file `said`, its errors too unless they have a place of their own."""
    usage = said.with_name("usage")
    # A process inherits its parent's peak memory; GNU time is small, a Python program is not.
    command = ["time", "--format=%U %S %M", "--quiet", f"--output={usage}", *command]
    with open(said, "wb") as output:
        begun = time.monotonic()
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=folder).returncode
        taken = time.monotonic() - begun
    user, system, peak_kib = usage.read_text().split()
    return Run(status, taken, float(user), float(system), int(peak_kib) / 1024)


def build(static):
    """Builds the programs and names them, agent and verifier; the verifier may be absent."""
    target = ["--target", STATIC_TARGET] if static else []
    subprocess.run(["cargo", "build", "--quiet", "--release", "-p", "holdfast-agent", "-p", "holdfast-verifier", *target], cwd=ROOT, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True)
    folder = Path(json.loads(metadata.stdout)["target_directory"]) / (STATIC_TARGET if static else "") / "release"
    verifier = folder / "holdfast-verifier"
    return str(folder / "holdfast-agent"), str(verifier) if verifier.exists() else None
