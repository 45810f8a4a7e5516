"""The arithmetic of the bench: python3 -m unittest discover -s tests/bench. No fio, no scrubd."""

import unittest

from versus.book import Book, goals_table
from versus.fio import method_of
from versus.growth import LARGE, SMALL, hosts
from versus.moments import between
from versus.process import median, percentile, show_size, size
from versus.trigger import flushed_between


class Numbers(unittest.TestCase):
    def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(self):
        self.assertEqual(percentile(range(1, 101), 99), 99)
        self.assertEqual(percentile(range(1, 21), 99), 20)
        self.assertEqual(percentile([7], 99), 7)

    def test_a_median_passes_over_what_was_not_measured(self):
        self.assertEqual(median([3, None, 1, 2]), 2)
        self.assertEqual(median([4, 1]), 2.5)
        self.assertIsNone(median([None]))

    def test_sizes_both_ways(self):
        for text, number in (("4KiB", 4096), ("512MiB", 512 << 20), ("16TiB", 16 << 40), ("4096", 4096)):
            self.assertEqual(size(text), number)
        self.assertEqual((show_size(16 << 40), show_size(4096), show_size(513)), ("16 TiB", "4 KiB", "513 B"))


class Ratios(unittest.TestCase):
    def book(self):
        book = Book()
        # The machine became ten times slower between the rounds: the ratio is the same in each.
        for pace in (100, 10, 1000):
            book.add("tmpfs", 4096, "scrubd", {"write": 2 * pace})
            book.add("tmpfs", 4096, "fio null", {"write": pace})
        return book

    def test_a_ratio_is_of_neighbours_in_time(self):
        self.assertEqual(self.book().ratio("tmpfs", 4096, "scrubd", "fio null", "write"), 2)

    def test_a_goal_is_met_from_its_bound_on_and_not_below(self):
        book = self.book()
        for bound in (2, 2.01):
            book.compare("write", "tmpfs", 4096, "scrubd", "fio null", "write", (">=", bound))
        self.assertEqual([row["met"] for row in book.rows], [True, False])
        self.assertIn("| ≥ 2.01 | **no** |", goals_table(book.rows))

    def test_who_did_not_take_part_has_no_row(self):
        book = self.book()
        book.compare("write", "tmpfs", 4096, "scrubd", "fio sha256", "write", (">=", 1))
        self.assertEqual(book.rows, [])


class Flushing(unittest.TestCase):
    def test_a_flushed_contestant_flushes_every_128_mib_and_at_the_end(self):
        self.assertEqual(method_of("null", 4096), ["--verify=null"])
        self.assertEqual(method_of("null flushed", 1 << 20), ["--verify=null", "--fdatasync=128", "--end_fsync=1"])


TRACED = """\
 <...>-7 [000] ..... 10.000000: sched_process_exec: filename=/usr/bin/env pid=7 old_pid=7
 <...>-7 [000] ..... 10.001000: sys_pread64(fd: 3, buf: 7ffc, count: 310, pos: 900000)
 <...>-7 [000] ..... 10.002000: sched_process_exec: filename=/t/scrubd pid=7 old_pid=7
 scrubd-7 [001] ..... 10.003000: sys_pread64(fd: 3, buf: 7ffc, count: 1000, pos: 80000)
"""


class FirstRead(unittest.TestCase):
    def test_the_label_is_no_verifying_read_and_nothing_before_the_exec_counts(self):
        self.assertIsNone(between(TRACED.splitlines(), "/t/scrubd"))
        read = " ring/0-9 [001] ..... 10.020000: sys_pread64(fd: e, buf: 55ac, count: 1000, pos: 102000)"
        self.assertAlmostEqual(between([*TRACED.splitlines(), read], "/t/scrubd"), 18)

    def test_a_single_request_may_wait_for_the_waker_and_a_batch_does_not(self):
        enter = " ring/0-9 [001] ..... {}: sys_io_uring_enter(fd: 5, to_submit: {}, min_complete: 1, flags: 9, argp: 7f, argsz: 18)"
        lines = [*TRACED.splitlines(), enter.format("10.010000", 0), enter.format("10.012000", 1)]
        self.assertIsNone(between(lines, "/t/scrubd"))
        for submitted in (1, "1f"):
            self.assertAlmostEqual(between([*lines, enter.format("10.013000", submitted)], "/t/scrubd"), 11)


TRACE = """\
10 1.0 execve("/bin/scrubd", ["scrubd", "--set", "trigger.command=[\\"/t/command\\"]"], 0x1 /* 3 vars */) = 0
10 1.1 unlink("/t/pull") = -1 ENOENT (No such file or directory)
11 1.2 fdatasync(6</t/state/ledger.1>) = 0
10 1.3 unlink("/t/pull" <unfinished ...>
11 1.4 fdatasync(5</t/state/ledger.0>) = 0
10 1.5 <... unlink resumed>) = 0
10 1.6 fsync(3</t> <unfinished ...>
10 1.7 <... fsync resumed>) = 0
11 1.8 fdatasync(6</t/state/ledger.1>) = 0
12 1.9 unlink("/t/state/other") = 0
13 2.0 execve("/t/command", ["/t/command"], 0x1 /* 4 vars */) = 0
11 2.1 fdatasync(5</t/state/ledger.0>) = 0
"""


class Flushes(unittest.TestCase):
    def test_only_what_lies_between_the_removal_that_succeeded_and_the_command_counts(self):
        self.assertEqual(flushed_between(TRACE, "/t/pull", "/t/command"), ["t", "ledger.1"])

    def test_a_trace_without_its_command_tells_nothing(self):
        self.assertIsNone(flushed_between(TRACE.partition("13 2.0")[0], "/t/pull", "/t/command"))


class Hosts(unittest.TestCase):
    def test_cores_are_devices_by_blocks_by_cost(self):
        points = []
        for block_size in (SMALL, 64 << 10, LARGE):
            for what in ("write", "verify"):
                points.append({"curve": "block size", "at": show_size(block_size), "what": what, "wall": 9, "user": 4 if
                               block_size == LARGE else 1, "system": 1, "ring": 3, "ring_user": 2})
        row = next(row for row in hosts(points) if row["host"].startswith("60 hard") and row["block_size"] == LARGE)
        self.assertAlmostEqual(row["cores"], 60 * 250e6 / LARGE * 5 / 1e6)
        self.assertAlmostEqual(row["ring_share"], 250e6 / LARGE * 3 / 1e6)


if __name__ == "__main__":
    unittest.main()
