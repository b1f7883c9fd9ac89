#!/usr/bin/env python3
"""Mixed random work from one seed for a given time: every result equals its repeat, and neither memory, descriptors nor
temporary files grow.

usage: tests/soak/soak.py [--minutes 30] [--seed 1] [--scute build/cli/scute] [--package build/python_package]

Runs the program as a user would, and the package inside this process, where growth would show. A key, all that decides a
result, names each piece of work; what it gave the first time is what it must give again. Ends by itself: each piece may take
two minutes, and the last begins before the time is over. Exit code 1 when anything differs, fails or grows.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
LANGUAGE = [REPO / "examples" / name for name in ("tiny-mamba1", "tiny-mamba2")]
COBRA, REGRESSOR = REPO / "tests/golden/cobra/model", REPO / "tests/golden/regressor/slim.pt"
FEATURES, PICTURES = REPO / "tests/golden/regressor_features", REPO / "tests/golden/cobra/pictures"
TEXTS, HELDOUT = REPO / "examples/text/calibration.jsonl", REPO / "examples/text/heldout.txt"
MOST_SECONDS = 120


def hash_of(path):
    """Of a file, or of every file of a folder with its name."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


class Work:
    """Pieces of work by name: each draws its key, and makes its result in a folder of its own."""

    def __init__(self, program, package, folder):
        self.program, self.folder, self.scute = program, folder, None
        if package is not None:
            sys.path.insert(0, str(package))
            import scute
            self.scute = scute
        self.kinds = [self.collect, self.decide, self.quantize, self.evaluate, self.generate,
                      self.parts, self.interrupted, self.cobra, self.regressor]
        if self.scute:
            self.kinds += [self.histogram, self.statistics, self.model]

    def run(self, *words, code=0):
        done = subprocess.run([str(self.program), *map(str, words)], cwd=self.folder, timeout=MOST_SECONDS,
                              stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != code:
            raise RuntimeError(f"{' '.join(map(str, words))}: exit code {done.returncode}: "
                               f"{done.stderr.decode(errors='replace')[-500:]}")
        return done.stdout

    def measured(self, rng, threads=True):
        model, samples = rng.choice(LANGUAGE), rng.choice([1, 2, 5])
        words = ["collect", model, "--data", TEXTS, "--samples", samples, "--seqlen", "32", "--quiet"]
        return (model.name, samples), words + (["--threads", rng.choice([1, 2, 3])] if threads else [])

    def collect(self, rng):
        key, words = self.measured(rng)
        self.run(*words, "--out", "s.safetensors")
        return key, hash_of(self.folder / "s.safetensors")

    def decide(self, rng):
        key, words = self.measured(rng)
        policy = rng.choice(["auto", "minmax", "percentile:0.999", "mse", "tail"])
        self.run(*words, "--out", "s.safetensors")
        self.run("decide", "s.safetensors", "--policy", policy, "--out", "p.json")
        return key + (policy,), hash_of(self.folder / "p.json")

    def quantize(self, rng):
        model, bits = rng.choice(LANGUAGE), rng.choice([("8", "8"), ("4", "8"), ("4", "16")])
        self.run("collect", model, "--data", TEXTS, "--samples", 2, "--seqlen", 32, "--quiet", "--out", "s.safetensors")
        statistics = ["--stats", "s.safetensors"] if bits[1] == "8" else []
        self.run("quantize", model, "--w-bits", bits[0], "--a-bits", bits[1], *statistics, "--threads",
                 rng.choice([1, 2]), "--quiet", "--out", "low")
        return (model.name, *bits), hash_of(self.folder / "low")

    def evaluate(self, rng):
        model, window = rng.choice(LANGUAGE), rng.choice([64, 256])
        answer = json.loads(self.run("eval", model, "--perplexity", HELDOUT, "--window", window, "--max-windows", 2,
                                     "--threads", rng.choice([1, 2]), "--quiet", "--json"))
        return (model.name, window), answer["perplexity"]["value"]

    def generate(self, rng):
        model, seed = rng.choice(LANGUAGE), rng.choice([1, 2])
        return (model.name, seed), self.run("generate", model, "--prompt", "The president", "--max-tokens", 16,
                                            "--seed", seed, "--quiet").decode(errors="replace")

    def parts(self, rng):
        model, count = rng.choice(LANGUAGE), rng.choice([2, 3])
        words = ["collect", model, "--data", TEXTS, "--samples", 4, "--seqlen", 32, "--quiet"]
        order = list(range(count))
        rng.shuffle(order)
        for part in order:
            self.run(*words, "--shard", f"{part}/{count}", "--out", "parts")
        self.run("merge", "parts", "--out", "s.safetensors")
        return (model.name,), hash_of(self.folder / "s.safetensors")  # whatever the parts

    def interrupted(self, rng):
        """Killed after a while, and gone on with."""
        model = rng.choice(LANGUAGE)
        words = [str(self.program), "collect", str(model), "--data", str(TEXTS), "--samples", "6", "--seqlen", "64",
                 "--checkpoint-every", "1", "--quiet", "--out", "s.safetensors"]
        process = subprocess.Popen(words, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(rng.uniform(0.05, 0.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.run(*words[1:])
        return (model.name,), hash_of(self.folder / "s.safetensors")

    def cobra(self, rng):
        self.run("collect", COBRA, "--images", PICTURES, "--threads", rng.choice([1, 2]), "--quiet", "--out", "s.pt")
        self.run("decide", "s.pt", "--out", "o.json")
        return (), hash_of(self.folder / "o.json")

    def regressor(self, rng):
        self.run("collect", REGRESSOR, "--feat-root", FEATURES, "--threads", rng.choice([1, 2]), "--quiet",
                 "--out", "s.safetensors")
        return (), hash_of(self.folder / "s.safetensors")

    def histogram(self, rng):
        import numpy as np
        seed = rng.choice([1, 2, 3])
        values = np.random.default_rng(seed).standard_normal(200_000).astype(rng.choice(["f4", "f4", "f8"]))
        whole, parts = self.scute.Histogram(), self.scute.Histogram()
        whole.update(values)
        for piece in np.array_split(values, rng.choice([2, 7])):
            parts.update(piece)
        if whole != parts:
            raise RuntimeError("a histogram in pieces is another one")
        return (seed, values.dtype.name), whole.quantile(0.999)

    def statistics(self, rng):
        model, samples = rng.choice(LANGUAGE), rng.choice([1, 2])
        seen = self.scute.collect(str(model), str(TEXTS), samples=samples, seqlen=32)
        seen.save(str(self.folder / "s.safetensors"))
        plan = self.scute.decide(self.scute.Statistics.load(str(self.folder / "s.safetensors")))
        return (model.name, samples), json.dumps({site: plan[site]["hi"] for site in plan})

    def model(self, rng):
        model = rng.choice(LANGUAGE)
        found = self.scute.load(str(model)).perplexity(HELDOUT.read_text()[:4000], window=64)
        return (model.name,), found["perplexity"]


class Watch:
    """What this process holds, now and when every kind of work had been done twice."""

    def __init__(self):
        self.settled = None

    @staticmethod
    def now():
        status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
        return {"memory": int(status["VmRSS"].split()[0]) * 1024, "descriptors": len(os.listdir("/proc/self/fd"))}

    def grown(self):
        """A sentence, or nothing. Memory: a twentieth and 16 MB, what allocators keep back."""
        now, before = self.now(), self.settled
        if before is None:
            return None
        if now["memory"] > 1.05 * before["memory"] + 16e6:
            return f"memory grew from {before['memory'] / 1e6:.1f} to {now['memory'] / 1e6:.1f} MB"
        if now["descriptors"] > before["descriptors"]:
            return f"descriptors grew from {before['descriptors']} to {now['descriptors']}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scute", type=pathlib.Path, default=REPO / "build/cli/scute")
    parser.add_argument("--package", type=pathlib.Path, default=REPO / "build/python_package",
                        help="the Python package; where there is none, the program alone is run")
    options = parser.parse_args()
    package = options.package if (options.package / "scute").is_dir() else None
    temporary = pathlib.Path(tempfile.mkdtemp(prefix="scute-soak-"))
    os.environ["TMPDIR"] = str(temporary / "tmp")
    (temporary / "tmp").mkdir()
    work = Work(options.scute.resolve(), package, temporary / "work")
    rng, known, counts, watch, problems = random.Random(options.seed), {}, {}, Watch(), []
    end, done = time.monotonic() + 60 * options.minutes, 0
    while time.monotonic() < end and not problems:
        kind = rng.choice(work.kinds)
        work.folder.mkdir()
        try:
            key, result = kind(rng)
            if known.setdefault((kind.__name__, *key), result) != result:
                problems.append(f"{kind.__name__} {key}: another result than before")
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            problems.append(f"{kind.__name__}: {error}")
        shutil.rmtree(work.folder)
        left = os.listdir(temporary / "tmp")
        if left:
            problems.append(f"{kind.__name__} left {left} where temporary files go")
        done += 1
        counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
        if watch.settled is None and len(counts) == len(work.kinds) and min(counts.values()) >= 2:
            watch.settled = watch.now()
        grown = watch.grown()
        if grown:
            problems.append(f"after {done} pieces of work {grown}")
    shutil.rmtree(temporary)
    for problem in problems:
        print(f"soak: seed {options.seed}: {problem}", file=sys.stderr)
    now = watch.now()
    print(f"soak: {done} pieces of work of {len(counts)} kinds, {len(known)} results, seed {options.seed}: "
          f"{now['memory'] / 1e6:.1f} MB, {now['descriptors']} descriptors"
          + (f" ({watch.settled['memory'] / 1e6:.1f}, {watch.settled['descriptors']} when settled)" if watch.settled
             else ", not settled yet"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
