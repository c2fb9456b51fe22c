#!/usr/bin/env python3
"""Tests of what makes tables and plots of runs, and of what takes figures from the tools' words: `bench.py --self-test`."""

import unittest
from xml.etree import ElementTree

import clients
import plot
import report


def run(scenario, mode, **metrics):
    return {"scenario": scenario, "mode": mode, "round": 1, "metrics": metrics}


RUNS = [
    run("a-1k", "jackdaw", produce_mb_s=90.0, produce_cpu_s_gb=4.0),
    run("a-1k", "kafka", produce_mb_s=50.0, produce_cpu_s_gb=10.0),
    run("a-1k", "kafka-fsync", produce_mb_s=15.0),
    run("a-1k", "jackdaw", produce_mb_s=110.0, produce_cpu_s_gb=6.0),
    run("a-1k", "kafka", produce_mb_s=70.0, produce_cpu_s_gb=10.0),
    run("a-1k", "jackdaw", produce_mb_s=100.0, produce_client_cores=1.25),
    run("h-3", "jackdaw", ready_ms=200.0),
    run("h-3", "kafka", ready_ms=8000.0),
]


class Rows(unittest.TestCase):
    def row(self, scenario, metric):
        return next(row for row in report.rows(RUNS) if (row.scenario, row.metric) == (scenario, metric))

    def test_median_least_and_most(self):
        self.assertEqual(self.row("a-1k", "produce_mb_s").spreads["jackdaw"], report.Spread(100.0, 90.0, 110.0, 3))
        # Two runs: their mean.
        self.assertEqual(self.row("a-1k", "produce_mb_s").spreads["kafka"].median, 60.0)

    def test_more_is_better(self):
        found = self.row("a-1k", "produce_mb_s").ratios
        self.assertAlmostEqual(found["kafka"].value, 100 / 60)
        self.assertTrue(found["kafka"].holds)
        self.assertFalse(found["kafka-fsync"].holds)

    def test_less_is_better(self):
        self.assertTrue(self.row("a-1k", "produce_cpu_s_gb").ratios["kafka"].holds)
        self.assertEqual(self.row("a-1k", "produce_cpu_s_gb").ratios["kafka"].value, 0.5)
        self.assertTrue(self.row("h-3", "ready_ms").ratios["kafka"].holds)

    def test_what_only_explains_has_no_ratio(self):
        self.assertEqual(self.row("a-1k", "produce_client_cores").ratios, {})

    def test_a_mode_that_did_not_run_has_no_ratio(self):
        self.assertEqual(list(self.row("h-3", "ready_ms").ratios), ["kafka"])

    def test_every_bar_is_of_a_metric(self):
        for _, metric in report.BARS:
            self.assertIsNotNone(report.METRICS[metric].more_is_better)


class Table(unittest.TestCase):
    def test_text(self):
        text = report.text_table(report.rows(RUNS), {"a-1k": "throughput"})
        self.assertIn("a-1k: throughput", text)
        self.assertIn("100 (90.0–110)", text)
        self.assertIn("1.67 × (≥ 1.5: holds)", text)
        self.assertIn("6.67 × (≥ 8: MISSED)", text)

    def test_verdict(self):
        self.assertEqual(report.verdict(report.rows(RUNS)), "3 of 4 bars hold")

    def test_markdown_has_as_many_cells_in_every_line(self):
        lines = report.markdown_table(report.rows(RUNS), {}).splitlines()
        self.assertEqual({line.count("|") for line in lines}, {len(report.HEADER) + 2})

    def test_numbers(self):
        shown = [report.number(value) for value in (12345.6, 123.4, 12.34, 1.234, 0.01234, 0)]
        self.assertEqual(shown, ["12,346", "123", "12.3", "1.23", "0.012", "0.000"])

    def test_a_section_is_replaced_and_nothing_else(self):
        before = f"head\n{report.BEGIN}\nold\n{report.END}\ntail\n"
        after = report.replace_section(before, "new\n")
        self.assertEqual(after, f"head\n{report.BEGIN}\nnew\n{report.END}\ntail\n")
        self.assertEqual(report.replace_section(after, "new"), after)
        for broken in ("head\n", report.BEGIN, f"{report.END}{report.BEGIN}"):
            with self.assertRaises(ValueError):
                report.replace_section(broken, "new")


    def test_facts_of_several_invocations(self):
        known = [{"date": "1", "machine": "m"}, {"date": "2", "machine": "m"}]
        self.assertEqual(report.merged_facts(known), [("date", "1; 2"), ("machine", "m")])


class Plot(unittest.TestCase):
    def rects(self, runs):
        document = ElementTree.fromstring(plot.svg(report.rows(runs)))
        found = [each for each in document.iter() if each.tag.endswith("rect") and each.get("y", "0") not in ("0", "28")]
        return [(float(each.get("x")), float(each.get("width"))) for each in found]

    def test_a_bar_per_ratio(self):
        self.assertEqual(len(self.rects(RUNS)), 4)

    def test_ahead_is_to_the_right_whichever_way_a_figure_counts(self):
        slower = [run("a-1k", "jackdaw", produce_mb_s=10.0), run("a-1k", "kafka", produce_mb_s=20.0)]
        cheaper = [run("a-1k", "jackdaw", produce_cpu_s_gb=10.0), run("a-1k", "kafka", produce_cpu_s_gb=20.0)]
        (left, width), (right, _) = self.rects(slower)[0], self.rects(cheaper)[0]
        self.assertAlmostEqual(left + width, right, places=0)

    def test_nothing_to_compare_is_no_error(self):
        self.assertEqual(self.rects([]), [])
        self.assertEqual(self.rects([run("j", "jackdaw", gap_ms=0.0), run("j", "kafka", gap_ms=9.0)]), [])


class Words(unittest.TestCase):
    """Lines as the tools print them."""

    def test_producer_performance(self):
        line = "{} records sent, {} records/sec (9.77 MB/sec), 12.34 ms avg latency, 456.00 ms max latency, 10 ms 50th, 20 ms 95th, 30 ms 99th, 40 ms 99.9th.\n"
        found = clients.producer_figures(line.format(1000, 5000.5) + line.format(800, "10000.0"), 1000)
        self.assertEqual(found, {"mb_s": 10.0, "avg": 12.34, "p50": 10, "p99": 30, "p999": 40, "max": 456})

    def test_consumer_performance(self):
        names = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
        values = "2026-01-01 00:00:00:000, 2026-01-01 00:00:09:000, 9.7, 1.0, 1000, 111.1, 3000, 500, 19.5, 2000.0"
        self.assertEqual(clients.consumer_figure(f"{names}\n{values}\n", 1000, 1000), 2.0)
        with self.assertRaises(SystemExit):
            clients.consumer_figure(f"{names}\n{values}\n", 1001, 1000)

    def test_end_to_end_latency(self):
        said = "0\t5.5\nAvg latency: 1.2345 ms\n\nPercentiles: 50th = 1, 99th = 4, 99.9th = 9\n"
        self.assertEqual(clients.latency_figure(said), {"avg": 1.2345, "p50": 1, "p99": 4, "p999": 9})

    def test_without_figures_a_run_fails(self):
        for parse in (lambda: clients.producer_figures("", 1), lambda: clients.consumer_figure("", 1, 1),
                      lambda: clients.latency_figure("")):
            with self.assertRaises(SystemExit):
                parse()


if __name__ == "__main__":
    unittest.main()
