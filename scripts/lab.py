"""Runs scute, keeps what it printed, and remembers results in a work folder."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parent.parent


class Skipped(Exception):
    """A measurement whose material is not there."""


class Lab:
    """Commands are tuples of words in which `$WORK/` stands for the work folder, so that results
    are found again wherever that folder is. They are forgotten when the program has changed.
    """

    def __init__(self, scute, work, threads):
        self.scute, self.work = pathlib.Path(scute).resolve(), pathlib.Path(work).resolve()
        self.threads = threads
        self.work.mkdir(parents=True, exist_ok=True)
        self._file = self.work / "results.json"
        digest = hashlib.sha256(self.scute.read_bytes()).hexdigest()
        self._known = {"scute_sha256": digest, "results": {}, "made": {}}
        if self._file.exists():
            known = json.loads(self._file.read_text(encoding="utf-8"))
            if known["scute_sha256"] == digest:
                self._known = known
            else:
                print("quality: another scute than last time, starting over", flush=True)

    def path(self, word):
        """Where a `$WORK/…` path is."""
        return pathlib.Path(str(word).replace("$WORK", str(self.work)))

    def _save(self):
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._known, indent=1) + "\n", encoding="utf-8")
        new.replace(self._file)

    def _run(self, words):
        program, *rest = words
        script = program.endswith(".py")
        command = [sys.executable, str(REPO / program)] if script else [str(self.scute), program]
        command += [str(self.path(word)) for word in rest]
        if not script:
            command += ["--threads", str(self.threads), "--json"]
        print(f"quality: {' '.join(words)}", end="", flush=True)
        start = time.monotonic()
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
        print(f"  [{time.monotonic() - start:.0f} s]", flush=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return {} if script else json.loads(done.stdout)

    def result(self, words, prepare=None):
        """The JSON that a command prints, from memory if it ran before. `prepare` runs first."""
        key = " ".join(words)
        if key not in self._known["results"]:
            if prepare:
                prepare()
            self._known["results"][key] = self._run(words)
            self._save()
        return self._known["results"][key]

    def make(self, path, words, build=None):
        """`path`, unless it is there: written by a command, or by `build()`, which `words` name."""
        key, own = " ".join(words), self.path(path)
        if self._known["made"].get(path) != key or not own.exists():
            self.remove(path)
            if build:
                build()
            else:
                self._run(words)
            self._known["made"][path] = key
            self._save()
        return path

    def remove(self, path):
        own = self.path(path)
        self._known["made"].pop(path, None)
        if own.is_dir():
            shutil.rmtree(own)
        elif own.exists():
            own.unlink()
