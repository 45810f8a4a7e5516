"""scrubd's side: a target of its own in a configuration of its own, labelled anew before each run."""

import json
import os
import shutil
from pathlib import Path

from .process import GIB, MIB, Child, Failed, run

LABEL = MIB


def settings(keys):
    """`--set` for each key."""
    words = []
    for key, value in keys.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    return words


def told(ended):
    """The JSON of the last line."""
    try:
        return json.loads(ended.out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"scrubd said no JSON: {ended.out[-300:]} {ended.err[-300:]}") from None


class Target:
    """One target. `length` is of the data; the label's MiB comes on top."""

    def __init__(self, binary, path, state_dir, length, depth=32, **geometry):
        self.binary, self.path, self.length = str(binary), Path(path), length
        # The name is in the socket's path and in the log: no two benches side by side share it.
        self.name = f"bench{os.getpid()}"
        self.state_dir = Path(state_dir)
        self.depth = depth
        self.geometry = geometry
        self.config = self.state_dir / "scrubd.toml"

    def write_config(self):
        self.state_dir.mkdir(parents=True, exist_ok=True)
        keys = {"path": str(self.path), "length": self.length + LABEL, "queue_depth": self.depth, **self.geometry}
        lines = [f"state_dir = {json.dumps(str(self.state_dir))}", f"[target.{self.name}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def label(self):
        """Begins a new run on whatever is there. The old label and the old state go first."""
        shutil.rmtree(self.state_dir, ignore_errors=True)
        self.write_config()
        with open(self.path, "r+b") as file:
            file.write(bytes(LABEL))
            file.flush()
            os.fsync(file.fileno())
        # To be named again is asked for where there is something to be overwritten: a device, or a file that exists.
        return told(run(self.argv("init", "--confirm", self.path)))["geometry"]

    def argv(self, verb, *more):
        return [self.binary, verb, "--config", self.config, self.name, "--json", *more]

    def start_argv(self, *more, **keys):
        return self.argv("run", *more, *settings(keys))

    def start(self, *more, **keys):
        """A run in the background."""
        return Child(self.start_argv(*more, **keys))

    def run(self, *more, statuses=(0,), **keys):
        ended = run(self.argv("run", *more, *settings(keys)), statuses=statuses)
        return told(ended), ended

    def ask(self, verb):
        return run(self.argv(verb))

    def write_pass(self, **keys):
        """One more pass, whole region, nothing read back: what fio's write phase does."""
        answer, ended = self.run("--passes", "1", **{"mode": "powercut", **keys})
        if answer["verdict"] != "intact" or answer["bytes"]["written"] != self.length:
            raise Failed(f"scrubd wrote {answer['bytes']['written']} of {self.length} bytes: {answer['verdict']}")
        return {
            "write": self.length / MIB / answer["elapsed_s"],
            "cpu": ended.cpu_s / (self.length / GIB),
            "peak_mib": ended.peak_mib,
        }

    def check(self, statuses=(0,), **keys):
        """Everything read and judged. Each block must be intact: a faster wrong answer is no result."""
        ended = run(self.argv("check", *settings(keys)), statuses=statuses)
        answer = told(ended)
        if answer["verdict"] != "intact" or answer["bytes"]["verified"] < self.length:
            raise Failed(f"scrubd judged {answer['bytes']['verified']} of {self.length} bytes: {answer['verdict']}")
        return {
            "verify": answer["bytes"]["verified"] / MIB / answer["elapsed_s"],
            "cpu": ended.cpu_s / (self.length / GIB),
            "peak_mib": ended.peak_mib,
            "blocks": answer["blocks"],
        }

    def write_and_verify(self, **keys):
        written = self.write_pass(**keys)
        judged = self.check(**{key: value for key, value in keys.items() if key != "mode"})
        return {
            "write": written["write"],
            "verify": judged["verify"],
            "cpu": written["cpu"] + judged["cpu"],
            "cpu_s": (written["cpu"] + judged["cpu"]) * self.length / GIB,
            "cpu_write": written["cpu"],
            "cpu_verify": judged["cpu"],
            "peak_mib": max(written["peak_mib"], judged["peak_mib"]),
        }
