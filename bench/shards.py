#!/usr/bin/env python3
"""What parts of a collection cost, for docs/cluster.md: 1, 2 and 4 workers of one thread side by side, and the merge.
  bench/shards.py build/cli/scute [--model MODEL] [--data DATA] [--samples N] [--workers 1,2,4]
Processor time is that of all workers together; wall time is worth something only on an idle machine with as many
processors as workers."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def run_all(commands):
    """Wall time, processor time of all, the largest memory of one in bytes, bytes that all read."""
    began = time.monotonic()
    children = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    processor, memory = 0.0, 0
    for child in children:
        said = child.stderr.read().decode()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{' '.join(map(str, child.args))}: {said.strip()}")
        processor += used.ru_utime + used.ru_stime
        memory = max(memory, 1024 * used.ru_maxrss)
    return time.monotonic() - began, processor, memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scute", type=os.path.abspath)
    parser.add_argument("--model", default="examples/tiny-mamba1")
    parser.add_argument("--data", default="examples/text/calibration.jsonl")
    parser.add_argument("--samples", type=int, default=352)
    parser.add_argument("--workers", default="1,2,4")
    request = parser.parse_args()
    print("| workers | seconds | processor seconds, all | memory of one, MB | a part, MB | merge: processor seconds "
          "| merge: MB |\n|---|---|---|---|---|---|---|")
    merged = []
    for count in map(int, request.workers.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            parts, out = f"{folder}/parts", pathlib.Path(folder, "all.safetensors")
            collect = [request.scute, "collect", request.model, "--data", request.data, "--samples",
                       str(request.samples), "--threads", "1", "--quiet", "--out", parts, "--shard"]
            wall, processor, memory = run_all([collect + [f"{i}/{count}"] for i in range(count)])
            size = max(p.stat().st_size for p in pathlib.Path(parts).iterdir())
            _, merging, merge_memory = run_all([[request.scute, "merge", parts, "--out", str(out)]])
            merged.append(out.read_bytes())
        print(f"| {count} | {wall:.1f} | {processor:.1f} | {memory / 1e6:.0f} | {size / 1e6:.1f} | {merging:.2f} "
              f"| {merge_memory / 1e6:.0f} |", flush=True)
    if any(m != merged[0] for m in merged):
        sys.exit("expected the same bytes for every number of workers, found others")


if __name__ == "__main__":
    main()
