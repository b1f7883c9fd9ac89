#!/usr/bin/env python3
"""compare.py's arithmetic, and its verdicts on two commands whose times are made up."""
import contextlib
import io
import json
import os
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare

FAKE = """#!/usr/bin/env python3
import json, os, sys
assert sys.argv[-2:] == ["--json", "--quiet"], sys.argv
count = {folder!r} + "/{name}.count"
n = int(open(count).read()) if os.path.exists(count) else 0
open(count, "w").write(str(n + 1))
open({folder!r} + "/order", "a").write("{name} ")
times = {times!r}
time = times[n % len(times)]
print(json.dumps({{"ttft": {{"median_ms": time, "limit": {{"median_ms": 7}}}}, "pp": {{"tokens_per_second": 512 / time}}}}))
"""


class Arithmetic(unittest.TestCase):
    def test_times_and_rates_are_slower_in_the_same_direction(self):
        old = compare.figures({"ttft": {"median_ms": 10}, "pp": {"tokens_per_second": 50.0}, "threads": 2})
        new = compare.figures({"ttft": {"median_ms": 12}, "pp": {"tokens_per_second": 40.0}, "threads": 2})
        self.assertEqual(compare.ratios(old, new), {"ttft.median_ms": 1.2, "pp.tokens_per_second": 1.25})

    def test_networks_of_a_list_are_told_apart(self):
        found = compare.figures({"networks": [{"network": "floats", "windows_per_second": 3.0}]})
        self.assertEqual(found, {"networks[floats].windows_per_second": (3.0, False)})

    def test_quartiles(self):
        self.assertEqual(compare.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]), (2.0, 3.0, 4.0))
        self.assertEqual(compare.quartiles([1.5]), (1.5, 1.5, 1.5))

    def test_only_what_repeats_is_slower(self):
        slow, quiet = [1.05, 1.06, 1.04], [1.0, 0.99, 1.01]
        self.assertEqual(compare.verdict([slow, slow], 3), "slower")
        self.assertEqual(compare.verdict([slow, quiet], 3), "same")
        self.assertEqual(compare.verdict([slow, [0.9, 1.2, 1.2, 0.9, 1.1]], 3), "same")  # a quartile below 1
        self.assertEqual(compare.verdict([[1.02] * 3] * 2, 3), "same")
        self.assertEqual(compare.verdict([[0.9] * 3] * 2, 3), "faster")


class TwoCommands(unittest.TestCase):
    def compare(self, old, new, pairs=2):
        """Exit code, what was printed and the order of the runs."""
        with tempfile.TemporaryDirectory() as folder:
            for name, times in (("old", old), ("new", new)):
                path = f"{folder}/{name}"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(FAKE.format(folder=folder, name=name, times=times))
                os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                code = compare.main([f"{folder}/old", f"{folder}/new", "--pairs", str(pairs), "--json", f"{folder}/j", "--", "bench", "--ttft"])
            with open(f"{folder}/j", encoding="utf-8") as file:
                ratios = json.load(file)["ratios"]
            with open(f"{folder}/order", encoding="utf-8") as file:
                return code, out.getvalue(), file.read().split(), ratios

    def test_a_slowdown_in_both_blocks_is_called(self):
        code, text, order, ratios = self.compare([100], [110])
        self.assertEqual(code, 1)
        self.assertIn("slower", text)
        self.assertEqual(order, "old new old new new old old new new old".split())
        for name in ("ttft.median_ms", "pp.tokens_per_second"):
            for block in ratios[name]:
                for ratio in block:
                    self.assertAlmostEqual(ratio, 1.1)
        self.assertNotIn("ttft.limit.median_ms", ratios)

    def test_a_slowdown_in_one_block_is_not(self):
        # The warm-up and the first block are slow, the second is not.
        code, text, _, ratios = self.compare([100], [110, 110, 110, 100, 100])
        self.assertEqual(code, 0)
        self.assertNotIn("slower", text)
        self.assertAlmostEqual(ratios["ttft.median_ms"][0][1], 1.1)
        self.assertAlmostEqual(ratios["ttft.median_ms"][1][0], 1.0)

    def test_the_same_and_faster(self):
        self.assertEqual(self.compare([100], [101])[0], 0)
        code, text, _, _ = self.compare([100], [80])
        self.assertEqual(code, 0)
        self.assertIn("faster", text)


if __name__ == "__main__":
    unittest.main()
