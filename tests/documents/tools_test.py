#!/usr/bin/env python3
"""The documents' tests find what they look for; and README.zh-CN.md says what README.md says."""

import re
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from commands import Document
from compare import difference
from documents_test import wrong_flags, wrong_links, wrong_paths
from figures import read
from markdown import anchors, blocks, code_spans, links, prose

TOP = Path(__file__).resolve().parents[2]


class Comparing(unittest.TestCase):
    def test_figures_are_equal_unless_errors_are_allowed(self):
        printed = "begins\nperplexity   26.41 ± 0.68  1,000 windows\nends\n"
        self.assertIsNone(difference("perplexity 26.41 ± 0.68   1,000 windows", printed))
        self.assertIsNotNone(difference("perplexity 26.42 ± 0.68 1,000 windows", printed))
        self.assertIsNone(difference("perplexity 26.9 ± 0.68 1,000 windows", printed, within_errors=True))
        self.assertIsNotNone(difference("perplexity 27.2 ± 0.68 1,000 windows", printed, within_errors=True))
        self.assertIsNotNone(difference("perplexity 26.41 ± 0.68 1,010 windows", printed, within_errors=True))

    def test_lines_stand_one_after_another_and_words_count(self):
        self.assertIsNone(difference("b\nc", "a\nb\n\nc\n"))
        self.assertEqual(difference("a\nc", "a\nb\nc\n"), "c")
        self.assertEqual(difference("a worse 1", "a better 1", within_errors=True), "a worse 1")


class Reading(unittest.TestCase):
    TEXT = (
        "# A title, `b`\n\n<!-- not run: needs a network -->\n```sh\nls\n```\n\nsee [x](y.md#z) and `scute eval --no`\n"
        "```text\n[no](link) `no span`\n```\n"
    )

    def test_blocks_have_the_markers_right_above_them(self):
        found = list(blocks(self.TEXT))
        self.assertEqual([(b.language, b.line, b.markers) for b in found],
                         [("sh", 5, {"not run": "needs a network"}), ("text", 10, {})])
        with self.assertRaisesRegex(ValueError, "not rum"):
            list(blocks("<!-- not rum: typing -->\n```sh\nls\n```\n"))

    def test_links_spans_and_anchors_are_those_of_the_text(self):
        self.assertEqual(list(links(self.TEXT)), [(8, "y.md#z")])
        self.assertEqual(list(code_spans(self.TEXT)), [(1, "b"), (8, "scute eval --no")])
        self.assertEqual(anchors(self.TEXT), {"a-title-b"})

    def test_a_flag_that_is_not_there_is_found(self):
        self.assertEqual(wrong_flags("a.md", self.TEXT, {"eval": {"--yes"}}),
                         ["a.md:8: expected a flag of scute eval, found --no"])
        self.assertEqual(len(wrong_flags("a.md", self.TEXT, {"run": set()})), 1)

    def test_a_file_or_heading_that_is_not_there_is_found(self):
        page = TOP / "CONTRIBUTING.md"
        good = "see [it](README.md#start), `base/json.h` and `cli/KIND/VERB.cc`\n"
        self.assertEqual(wrong_links(page, good) + wrong_paths(page, good), [])
        self.assertEqual(len(wrong_links(page, "[a](nowhere.md) [b](README.md#nowhere)\n")), 2)
        self.assertEqual(len(wrong_paths(page, "`base/nowhere.h`\n")), 1)


class Running(unittest.TestCase):
    def outcome(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.md"
            path.write_text(text, encoding="utf-8")
            return Document(path, Path(folder), Path(folder), Path("/bin/sh"), False).run()

    def test_what_fails_differs_or_says_no_reason_is_wrong(self):
        good = self.outcome("```sh\necho 12\n```\n<!-- output of: the commands above -->\n```\n12\n```\n")
        self.assertEqual((good.ran, good.compared, good.wrong), (1, 1, []))
        for text, said in (
            ("```sh\nfalse\n```\n", "end with 1"),
            ("```sh\necho 13\n```\n<!-- output of: the commands above -->\n```\n12\n```\n", "in what is printed"),
            ("<!-- not run: no -->\n```sh\nls\n```\n", "why it is not run"),
            ("<!-- run by: nothing.sh -->\n```sh\nls\n```\n", "expected a file that names a.md"),
            ("```console\n$ ls\n```\n", "in a block ```sh"),
            ("```\nscute eval x\n```\n", "in a block ```sh"),
        ):
            with self.subTest(text):
                (wrong,) = self.outcome(text).wrong
                self.assertIn(said, wrong)


class Figures(unittest.TestCase):
    TABLE = "| what | ms |\n|---|---|\n| a | 1.5 |\n| b | 2.5 ± 0.1 |\n"

    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.md"
            path.write_text(text, encoding="utf-8")
            return read(path, "a.md")

    def test_a_table_of_figures_needs_a_marker_in_its_section(self):
        marker = "<!-- measured: 2026-11-30 1234567; machine m; `bench` -->\n\n"
        (one,), wrong = self.read("# A\n\n" + marker + self.TABLE)
        self.assertEqual((one.section, one.rows, one.command, wrong), ("A", 2, "`bench`", []))
        self.assertEqual(len(self.read("# A\n\n" + self.TABLE)[1]), 1)
        self.assertEqual(len(self.read("# A\n\n" + marker + "# B\n\n" + self.TABLE)[1]), 1)
        self.assertEqual(len(self.read("<!-- measured: yesterday -->\n")[1]), 1)

    def test_words_and_settings_are_no_figures(self):
        table = "| flag | what |\n|---|---|\n| `--bits` | 8 bits |\n| `--threads` | 2 threads |\n"
        self.assertEqual(self.read("# A\n\n" + table), ([], []))


class Translation(unittest.TestCase):
    """README.zh-CN.md has the commands, figures, links and parts of README.md."""

    @classmethod
    def setUpClass(cls):
        cls.english = (TOP / "README.md").read_text(encoding="utf-8")
        cls.chinese = (TOP / "README.zh-CN.md").read_text(encoding="utf-8")

    def both(self, of):
        return of(self.english), of(self.chinese)

    def same(self, of):
        english, chinese = self.both(of)
        self.assertEqual(english, chinese)

    def test_blocks_are_equal_but_for_comments(self):
        def commands(text):
            return [(b.language, {k: v for k, v in b.markers.items() if k != "measured"},
                     [re.sub(r" *# .*", "", line) for line in b.text.splitlines()]) for b in blocks(text)]

        self.same(commands)

    def test_parts_and_tables_have_the_same_shape(self):
        self.same(lambda text: [len(found) for found in re.findall(r"^#+", prose(text), re.MULTILINE)])
        self.same(lambda text: [line.count("|") for line in prose(text).splitlines() if line.startswith("|")])
        self.same(lambda text: len(re.findall(r"^\* ", prose(text), re.MULTILINE)))

    def test_links_spans_and_figures_are_the_same(self):
        between = {"README.md", "README.zh-CN.md"}  # each names the other
        self.same(lambda text: sorted({target for _, target in links(text)} - between))
        self.same(lambda text: Counter(span for _, span in code_spans(text)))
        self.same(lambda text: Counter(re.findall(r"\d[\d.,]*\d|\d", re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose(text)))))


if __name__ == "__main__":
    unittest.main()
