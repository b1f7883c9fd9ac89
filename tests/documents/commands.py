"""Runs the commands that a document shows, as printed and in order, in a folder of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from compare import difference
from markdown import Block, blocks

_SECONDS = 900  # one block, also on a machine with much else to do
# What looks like a command in a block that is none of commands.
_COMMAND = re.compile(r"^(\$ |\./|(scute|cmake|pip|python3?|mpirun|sbatch|srun) +[a-z-])", re.MULTILINE)
# How much of each text of examples/text the usual run keeps.
_SHORT = {"calibration.jsonl": 12, "last_word.jsonl": 12, "heldout.jsonl": 6, "heldout.txt": 140}


@dataclass
class Outcome:
    """What became of a document's blocks: how many ran and were compared, why others did not, what is wrong."""

    ran: int = 0
    compared: int = 0
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def workplace(top: Path, folder: Path, whole: bool) -> None:
    """Makes `folder` look like the repository to a reader's commands; `whole`: with its texts in full."""
    (folder / "tests").mkdir(parents=True)
    (folder / "tests/golden").symlink_to(top / "tests/golden")
    (folder / "examples").mkdir()
    for entry in (top / "examples").iterdir():
        if whole or entry.name != "text":
            (folder / "examples" / entry.name).symlink_to(entry)
    if not whole:
        (folder / "examples/text").mkdir()
        for entry in (top / "examples/text").iterdir():
            lines = entry.read_text(encoding="utf-8").splitlines(keepends=True)
            text = "".join(lines[: _SHORT.get(entry.name)])
            (folder / "examples/text" / entry.name).write_text(text, encoding="utf-8")


class Document:
    """One document whose commands are run in `folder`."""

    def __init__(self, path: Path, top: Path, folder: Path, program: Path, whole: bool):
        self.name = str(path.relative_to(top))
        self.text = path.read_text(encoding="utf-8")
        self.top, self.folder, self.whole = top, folder, whole
        self.environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(folder),
        }
        self.printed = ""
        self.outcome = Outcome()

    def run(self) -> Outcome:
        for block in blocks(self.text):
            where = f"{self.name}:{block.line}"
            if block.language in ("bash", "shell", "console"):
                self.outcome.wrong.append(f"{where}: expected commands in a block ```sh, found ```{block.language}")
            elif block.language == "sh":
                self._commands(block, where)
            elif "output of" in block.markers:
                self._output(block, where)
            elif _COMMAND.search(block.text) and not self._left(block, where):
                self.outcome.wrong.append(f"{where}: expected commands in a block ```sh, found ```{block.language}")
        return self.outcome

    def _left(self, block: Block, where: str) -> bool:
        """Whether the block stays unrun, for a reason that it gives."""
        markers = block.markers
        if "not run" in markers:
            if len(markers["not run"]) < 8:
                self.outcome.wrong.append(f"{where}: expected why it is not run, found {markers['not run']!r}")
            self.outcome.left.append(markers["not run"])
        elif "run by" in markers:
            runner = self.top / markers["run by"]
            if not runner.is_file() or Path(self.name).name not in runner.read_text(encoding="utf-8"):
                self.outcome.wrong.append(f"{where}: expected a file that names {self.name}, found {markers['run by']}")
            self.outcome.left.append(f"run by {markers['run by']}")
        elif "needs" in markers and not (self.top / markers["needs"]).exists():
            self.outcome.left.append(f"needs {markers['needs']}")
        elif "whole texts" in markers and not self.whole:
            self.outcome.left.append("run by test.sh --all")
        else:
            return False
        return True

    def _commands(self, block: Block, where: str) -> None:
        self.printed = ""
        if self._left(block, where):
            return
        for pair in filter(None, re.split(r"; *", block.markers.get("stands for", ""))):
            name, _, stands = pair.partition(" = ")
            link = self.folder / name
            if not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                here = self.folder / stands
                link.symlink_to(here if here.exists() else self.top / stands)
        if self._shell(block.text, where):
            self.outcome.ran += 1

    def _shell(self, commands: str, where: str) -> bool:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=_SECONDS, check=False,
        )  # fmt: skip
        self.printed = ended.stdout
        if ended.returncode != 0:
            said = "\n".join((ended.stdout + ended.stderr).splitlines()[-12:])
            self.outcome.wrong.append(f"{where}: the commands end with {ended.returncode}:\n{commands}\n{said}")
        return ended.returncode == 0

    def _output(self, block: Block, where: str) -> None:
        if self._left(block, where):
            return
        command = block.markers["output of"]
        if command != "the commands above" and not self._shell(command, where):
            return
        figures = block.markers.get("figures", "equal")
        if figures not in ("equal", "within errors"):
            self.outcome.wrong.append(f"{where}: expected figures: within errors, found {figures}")
        lacking = difference(block.text, self.printed, figures == "within errors")
        self.outcome.compared += 1
        if lacking is not None:
            self.outcome.wrong.append(f"{where}: expected in what is printed\n{lacking}\nfound\n{self.printed[-4000:]}")


def run_document(path: Path, top: Path, folder: Path, program: Path, whole: bool) -> Outcome:
    """Runs `path` in `folder`, which is made and removed."""
    workplace(top, folder, whole)
    try:
        return Document(path, top, folder, program, whole).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
