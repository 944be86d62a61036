# SPDX-License-Identifier: Apache-2.0
"""Tests of what scripts/cts is made of, with a stand-in for the conformance program."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from cases import CaseError, CaseList, every_nth, known_cases, pattern_regex, read_lists, selectors
from comparison import compare, count, is_worse, set_flaky_apart, table
from expectations import Expectations, Line, read_expectations
from qpa import Begun, Ended, Reader
from results import load_native, save
from runner import MISSING, Outcome, Run, Runner, RunError, Side

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
FAKE = FOLDER / "fake_deqp.py"


def line(pattern: str, status: str = "") -> Line:
    return Line(pattern, status, "", pattern_regex([pattern]))


class ReaderTest(unittest.TestCase):
    def read(self, text: str) -> list[Begun | Ended]:
        reader = Reader()
        events = [reader.feed(each) for each in text.splitlines(keepends=True)]
        self.running = reader.running
        return [event for event in events if event]

    def test_one_case(self) -> None:
        events = self.read(
            '#sessionInfo releaseName git\n#beginSession\n\n#beginTestCaseResult dEQP-VK.a.b\n'
            '<?xml version="1.0" encoding="UTF-8"?>\n<TestCaseResult CasePath="dEQP-VK.a.b">\n'
            ' <Text>any &lt;Result&gt;</Text>\n <Result StatusCode="Pass">Pass</Result>\n'
            '</TestCaseResult>\n\n#endTestCaseResult\n\n#endSession\n')
        self.assertEqual(events, [Begun("dEQP-VK.a.b"), Ended("dEQP-VK.a.b", "Pass", "Pass")])
        self.assertIsNone(self.running)

    def test_messages_may_have_lines_and_escapes_and_be_empty(self) -> None:
        events = self.read(
            '#beginTestCaseResult x\n<Result StatusCode="Fail">1 &lt; 2 &amp;&amp; &quot;a&quot;\n'
            'and more</Result>\n#endTestCaseResult\n'
            '#beginTestCaseResult y\n<Result StatusCode="NotSupported"/>\n#endTestCaseResult\n')
        self.assertEqual(events[1], Ended("x", "Fail", '1 < 2 && "a"\nand more'))
        self.assertEqual(events[3], Ended("y", "NotSupported", ""))

    def test_terminated_case(self) -> None:
        events = self.read("#beginTestCaseResult x\n<Text>a</Text>\n#terminateTestCaseResult Crash\n")
        self.assertEqual(events[1], Ended("x", "Crash", "the program gave up"))

    def test_case_without_end_is_running(self) -> None:
        self.read('#beginTestCaseResult x\n<Result StatusCode="Pass">Pass</Result>\n')
        self.assertEqual(self.running, "x")

    def test_end_without_result_is_no_pass(self) -> None:
        events = self.read("#beginTestCaseResult x\n#endTestCaseResult\n")
        self.assertEqual(events[1], Ended("x", "InternalError", "no result in the log"))

    def test_result_of_one_case_is_not_the_next_ones(self) -> None:
        events = self.read('#beginTestCaseResult x\n<Result StatusCode="Pass">Pass</Result>\n'
                           '#endTestCaseResult\n#beginTestCaseResult y\n#endTestCaseResult\n')
        self.assertEqual(events[3], Ended("y", "InternalError", "no result in the log"))


class CasesTest(unittest.TestCase):
    def test_patterns(self) -> None:
        regex = pattern_regex(["dEQP-VK.a.*", "dEQP-VK.b.c"])
        self.assertTrue(regex.fullmatch("dEQP-VK.a.x.y"))
        self.assertTrue(regex.fullmatch("dEQP-VK.b.c"))
        self.assertFalse(regex.fullmatch("dEQP-VK.b.cd"))
        self.assertFalse(regex.fullmatch("dEQP-VK.ab.x"))
        self.assertFalse(regex.fullmatch("dEQP-VKxb.c"))
        self.assertFalse(pattern_regex([]).fullmatch(""))

    def test_even_distances(self) -> None:
        self.assertEqual(every_nth(list("abcdefghij"), 3), ["a", "d", "g"])
        self.assertEqual(every_nth(list("abc"), 3), list("abc"))
        self.assertEqual(every_nth(list("abc"), 5), list("abc"))

    def test_choose(self) -> None:
        chosen = CaseList("x", ["a.*", "b.*"], ["a.c.*"], 2).choose(["a.1", "a.c.1", "b.1", "c.1", "b.2"])
        self.assertEqual(chosen, ["a.1", "b.1"])

    def test_selectors(self) -> None:
        self.assertEqual(selectors(["dEQP-VK.api.smoke.*", "dEQP-VK.api.a*.b", "dEQP-VK.info.x"]),
                         ["dEQP-VK.api.*", "dEQP-VK.info.*"])
        self.assertEqual(selectors(["dEQP-VK.synchronization*"]), ["dEQP-VK.synchronization*"])
        self.assertEqual(selectors(["*"]), ["*"])

    def test_project_lists(self) -> None:
        lists = {one.name: one for one in read_lists(FOLDER / "lists.toml")}
        self.assertIsNone(lists["memory"].count)
        self.assertEqual(lists["draw"].count, 5000)
        self.assertFalse(lists["sample"].default)

    def test_known_cases(self) -> None:
        with tempfile.TemporaryDirectory() as work:
            cases = known_cases(FAKE, dict(os.environ), Path(work), ["dEQP-VK.fake.a.*"])
        self.assertEqual(cases[:2], ["dEQP-VK.fake.a.pass", "dEQP-VK.fake.b.fail"])


class ExpectationsTest(unittest.TestCase):
    def read(self, fails: str = "", flakes: str = "", skips: str = "") -> Expectations:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "docs").mkdir()
            (folder / "docs" / "coverage.md").touch()
            for file, text in (("fails", fails), ("flakes", flakes), ("skips", skips)):
                (folder / f"{file}.txt").write_text(text)
            return read_expectations(folder, folder)

    def test_lines(self) -> None:
        known = self.read("# all\na.*,Crash\n\n", "b.c # seen twice\n",
                          "d.*  # hangs (docs/coverage.md)\n"
                          "e.f,NotSupported # no such thing (docs/coverage.md#head)\n")
        self.assertEqual(known.expected_native("a.x"), "Crash")
        self.assertIsNone(known.expected_native("b.x"))
        self.assertTrue(known.is_flake("b.c"))
        self.assertTrue(known.is_skipped("d.e"))
        self.assertFalse(known.is_skipped("e.f"))
        self.assertTrue(known.may_be_not_supported("e.f"))
        self.assertFalse(known.may_be_not_supported("d.e"))

    def test_skips_need_a_reason_and_a_document_that_is_there(self) -> None:
        for text in ("a\n", "a # because\n", "a # because (docs/nowhere.md)\n",
                     "a,Fail # because (docs/coverage.md)\n"):
            with self.subTest(text), self.assertRaises(CaseError):
                self.read(skips=text)

    def test_fails_need_a_status(self) -> None:
        with self.assertRaises(CaseError):
            self.read(fails="a\n")

    def test_project_files(self) -> None:
        read_expectations(FOLDER, ROOT)


class RunnerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.work = tempfile.TemporaryDirectory()
        self.addCleanup(self.work.cleanup)

    def runner(self, jobs: int = 2, chunk: int = 100, deqp: Path = FAKE) -> Runner:
        side = Side("native", dict(os.environ))
        return Runner(deqp, side, Path(self.work.name), jobs, chunk, limit_s=2.0)

    def run_cases(self, *names: str, **more: object) -> Run:
        return self.runner(**more).run([f"x.{name}" for name in names])

    def statuses(self, run: Run) -> dict[str, str]:
        return {case.removeprefix("x."): outcome.status for case, outcome in run.outcomes.items()}

    def test_each_case_costs_itself_only(self) -> None:
        run = self.run_cases("a.pass", "b.crash", "c.fail", "d.hang", "e.unsupported", "f.pass")
        self.assertEqual(self.statuses(run), {
            "a.pass": "Pass", "b.crash": "Crash", "c.fail": "Fail", "d.hang": "Timeout",
            "e.unsupported": "NotSupported", "f.pass": "Pass"})
        self.assertIn("died of SIGSEGV; about to crash", run.outcomes["x.b.crash"].message)
        self.assertEqual(run.outcomes["x.c.fail"].message, "fail &\nmore")
        self.assertEqual(run.notes, [])

    def test_same_in_many_chunks(self) -> None:
        names = [f"{number:03}.{'crash' if number % 7 == 0 else 'pass'}" for number in range(40)]
        run = self.run_cases(*names, chunk=6, jobs=3)
        self.assertEqual(self.statuses(run),
                         {name: "Crash" if "crash" in name else "Pass" for name in names})

    def test_death_between_cases_is_noted_and_costs_none(self) -> None:
        run = self.run_cases("a.poison", "b.pass")
        self.assertEqual(self.statuses(run), {"a.poison": "Pass", "b.pass": "Pass"})
        self.assertEqual(len(run.notes), 1)
        self.assertIn("died of SIGSEGV after x.a.poison", run.notes[0])

    def test_program_that_ends_early_is_started_again(self) -> None:
        run = self.run_cases("a.leave", "b.pass")
        self.assertEqual(self.statuses(run), {"a.leave": "Pass", "b.pass": "Pass"})

    def test_unknown_case_is_missing(self) -> None:
        run = self.run_cases("a.pass", "b.unknown")
        self.assertEqual(self.statuses(run), {"a.pass": "Pass", "b.unknown": MISSING})

    def test_process_is_not_used_on_after_a_surprise(self) -> None:
        names = ["a.pass", "b.lose", "c.pass"]
        self.assertEqual(self.statuses(self.run_cases(*names))["c.pass"], "Fail")
        run = self.runner().run([f"x.{name}" for name in names],
                                expected={f"x.{name}": Outcome("Pass") for name in names})
        self.assertEqual(self.statuses(run), {"a.pass": "Pass", "b.lose": "Fail", "c.pass": "Pass"})
        self.assertEqual(run.notes, [])

    def test_repeat_runs_alone(self) -> None:
        self.assertEqual(self.statuses(self.run_cases("a.pass", "b.once"))["b.once"], "Crash")
        again = self.runner().repeat(["x.b.once"], 2)
        self.assertEqual([outcome.status for outcome in again["x.b.once"]], ["Pass", "Pass"])

    def test_program_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(RunError, "could not be started"):
            self.run_cases("a.pass", deqp=Path(self.work.name) / "nothing")

    def test_program_that_runs_nothing(self) -> None:
        with self.assertRaisesRegex(RunError, "exited with status 1"):
            self.run_cases("a.pass", deqp=Path("/bin/false"))


class ComparisonTest(unittest.TestCase):
    def compare(self, native: dict[str, str], vesper: dict[str, str],
                expectations: Expectations | None = None):
        runs = [Run({case: Outcome(status) for case, status in side.items()})
                for side in (native, vesper)]
        return compare("list", *runs, expectations or Expectations())

    def test_what_is_held_against_vesper(self) -> None:
        for native, vesper, worse in (
                ("Pass", "Pass", False), ("Pass", "Fail", True), ("Pass", "NotSupported", True),
                ("Pass", "QualityWarning", True), ("Pass", MISSING, True), ("Pass", "Crash", True),
                ("QualityWarning", "Pass", False), ("NotSupported", "NotSupported", False),
                ("NotSupported", "Timeout", True), ("NotSupported", "Pass", False),
                ("Fail", "Fail", False), ("Fail", "Crash", False), ("Fail", "NotSupported", True),
                ("Crash", "Pass", False)):
            with self.subTest(native=native, vesper=vesper):
                self.assertEqual(is_worse(native, vesper), worse)

    def test_sections(self) -> None:
        known = Expectations(flakes=[line("flake")], skips=[line("no.*", "NotSupported")])
        result = self.compare(
            {"good": "Pass", "bad": "Pass", "flake": "Pass", "no.1": "Pass", "no.2": "Pass",
             "native": "Fail", "none": "NotSupported"},
            {"good": "Pass", "bad": "Fail", "flake": "Crash", "no.1": "NotSupported", "no.2": "Fail",
             "native": "Fail", "none": "NotSupported"}, known)
        self.assertEqual([d.case for d in result.differences], ["bad", "no.2"])
        self.assertEqual([d.case for d in result.excused], ["no.1"])
        self.assertEqual([d.case for d in result.native_bad], ["flake", "native"])

    def test_driver_that_varies_is_no_evidence(self) -> None:
        result = self.compare({"a": "Pass", "b": "Pass"}, {"a": "Fail", "b": "Fail"})
        for difference in result.differences:
            difference.vesper_again = [Outcome("Pass"), Outcome("Pass")]
            difference.native_again = [Outcome("Pass"), Outcome("Fail" if difference.case == "a"
                                                               else "Pass")]
        set_flaky_apart(result)
        self.assertEqual([d.case for d in result.differences], ["b"])
        self.assertEqual([d.case for d in result.native_bad], ["a"])

    def test_table(self) -> None:
        result = self.compare({"a": "Pass", "b": "Waiver", "c": "ResourceError"},
                              {"a": "Crash", "b": "Waiver", "c": "Timeout"})
        self.assertEqual(count(result.native), {
            "passed": 2, "not supported": 0, "failed": 1, "crashed": 0, "timed out": 0})
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table([result]).splitlines()]
        self.assertEqual(rows[2], ["list", "native", "3", "2", "0", "1", "0", "0", "0", "", "0.0 s"])
        self.assertEqual(rows[3], ["", "Vesper", "3", "1", "0", "0", "1", "1", "0", "1", "0.0 s"])

    def test_results_are_kept(self) -> None:
        result = self.compare({"a": "Pass", "b": "Fail"}, {"a": "Pass", "b": "Fail"})
        result.native.outcomes["b"] = Outcome("Fail", 1.5, "no")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            save(path, {}, [result])
            self.assertEqual(load_native(path)["list"].outcomes, result.native.outcomes)
            path.write_text("{}")
            with self.assertRaises(CaseError):
                load_native(path)


class ProgramTest(unittest.TestCase):
    """scripts/cts as a whole."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        manifests = self.folder / "share" / "vulkan" / "icd.d"
        manifests.mkdir(parents=True)
        (manifests / "vesper_icd.fake.json").touch()
        (self.folder / "driver.json").touch()

    def run_program(self, patterns: str, *more: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "some.txt").write_text(patterns)
        return subprocess.run(
            [str(ROOT / "scripts" / "cts"), "--deqp", str(FAKE), "--list", f"{self.folder}/some.txt",
             "--native", f"{self.folder}/driver.json", "--server", "unix:/nowhere",
             "--build-dir", str(self.folder), "--out", f"{self.folder}/out", *more],
            text=True, capture_output=True)

    def test_difference(self) -> None:
        done = self.run_program("# all of them\ndEQP-VK.fake.*\n")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("dEQP-VK.fake.f.vesperfail: natively Pass, through Vesper Fail; "
                      "alone: natively Pass Pass Pass, through Vesper Fail Fail Fail", done.stdout)
        self.assertIn("1 cases are different", done.stdout)
        table_rows = (self.folder / "out" / "table.md").read_text().splitlines()[-2:]
        self.assertEqual([row.split("|")[3:9] for row in table_rows][0][0].strip(), "8")
        account = (self.folder / "out" / "differences.md").read_text()
        self.assertIn("DIFFERENT through Vesper (1)", account)
        self.assertIn("dEQP-VK.fake.d.crash: natively Crash, through Vesper Crash", account)
        self.assertIn("SIGSEGV after dEQP-VK.fake.g.poison", account)

    def test_no_difference(self) -> None:
        done = self.run_program("dEQP-VK.fake.a.*\ndEQP-VK.fake.b.*\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        again = self.run_program("dEQP-VK.fake.a.*\n", "--native-results",
                                 f"{self.folder}/out/results.json")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("natively", again.stderr)

    def test_nothing_to_run(self) -> None:
        done = self.run_program("dEQP-VK.other.*\n")
        self.assertEqual((done.returncode, done.stderr), (
            2, "cts: the conformance program has no case for the list 'some'.\n"))


if __name__ == "__main__":
    unittest.main()
