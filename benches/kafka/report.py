"""From runs to a table: medians, ratios, bars. Nothing here starts, reads or waits for anything but the documents it is
asked to rewrite."""

import dataclasses
import statistics

BASELINES = {"kafka": "Kafka", "kafka-fsync": "Kafka, fsync"}
MODES = {"jackdaw": "Jackdaw", **BASELINES}


@dataclasses.dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    # Whether more is better; None where it only explains the others.
    more_is_better: bool | None = None


# In the order of the table.
METRICS = {
    "produce_mb_s": Metric("produce, Kafka's client", "MB/s", True),
    "native_produce_mb_s": Metric("produce, librdkafka", "MB/s", True),
    "produce_cpu_s_gb": Metric("broker CPU per GB produced, Kafka's client", "s", False),
    "native_produce_cpu_s_gb": Metric("broker CPU per GB produced, librdkafka", "s", False),
    "native_consume_mb_s": Metric("consume, librdkafka", "MB/s", True),
    "java_consume_mb_s": Metric("consume, Kafka's client", "MB/s", True),
    "consume_cpu_s_gb": Metric("broker CPU per GB consumed, librdkafka", "s", False),
    "java_consume_cpu_s_gb": Metric("broker CPU per GB consumed, Kafka's client", "s", False),
    "tail_mb_s": Metric("delivered to all groups", "MB/s", True),
    "tail_cpu_s_gb": Metric("broker CPU per GB delivered", "s", False),
    "produce_p50_ms": Metric("produce, median", "ms", False),
    "produce_p99_ms": Metric("produce, 99 %", "ms", False),
    "produce_p999_ms": Metric("produce, 99.9 %", "ms", False),
    "e2e_p50_ms": Metric("end to end, median", "ms", False),
    "e2e_p99_ms": Metric("end to end, 99 %", "ms", False),
    "e2e_p999_ms": Metric("end to end, 99.9 %", "ms", False),
    "java_produce_avg_ms": Metric("ProducerPerformance at that rate, mean", "ms", False),
    "java_produce_p99_ms": Metric("ProducerPerformance at that rate, 99 %", "ms", False),
    "java_produce_p999_ms": Metric("ProducerPerformance at that rate, 99.9 %", "ms", False),
    "alone_avg_ms": Metric("EndToEndLatency, one record at a time, mean", "ms", False),
    "alone_p99_ms": Metric("EndToEndLatency, one record at a time, 99 %", "ms", False),
    "requests_s": Metric("requests, librdkafka", "1/s", True),
    "request_p50_ms": Metric("a request, median, librdkafka", "ms", False),
    "request_p99_ms": Metric("a request, 99 %, librdkafka", "ms", False),
    "request_cpu_us": Metric("broker CPU per request, librdkafka", "µs", False),
    "bare_requests_s": Metric("requests, bare sockets", "1/s", True),
    "bare_request_p50_ms": Metric("a request, median, bare sockets", "ms", False),
    "bare_request_p99_ms": Metric("a request, 99 %, bare sockets", "ms", False),
    "bare_request_cpu_us": Metric("broker CPU per request, bare sockets", "µs", False),
    "ready_ms": Metric("all brokers known to all", "ms", False),
    "gap_ms": Metric("median of its kills", "ms", False),
    "gap_max_ms": Metric("longest of its kills", "ms", False),
    "idle_mb": Metric("resident, idle, all brokers", "MiB", False),
    "loaded_mb": Metric("resident, largest under load, all brokers", "MiB", False),
    "idle_largest_mb": Metric("resident, idle, the largest broker", "MiB", False),
    "loaded_largest_mb": Metric("resident, largest under load, the largest broker", "MiB", False),
    "idle_anon_mb": Metric("of all anonymous, idle", "MiB"),
    "loaded_anon_mb": Metric("of all anonymous, under load", "MiB"),
    "loaded_file_mb": Metric("of all mapped files, under load", "MiB"),
    "produce_broker_cores": Metric("brokers' cores, Kafka's client producing", "cores"),
    "produce_client_cores": Metric("the client's cores, Kafka's client producing", "cores"),
    "produce_client_cpu_s_gb": Metric("client CPU per GB produced, Kafka's client", "s"),
    "native_produce_broker_cores": Metric("brokers' cores, librdkafka producing", "cores"),
    "native_produce_client_cores": Metric("the client's cores, librdkafka producing", "cores"),
    "native_produce_client_cpu_s_gb": Metric("client CPU per GB produced, librdkafka", "s"),
    "consume_broker_cores": Metric("brokers' cores, librdkafka consuming", "cores"),
    "consume_client_cores": Metric("the client's cores, librdkafka consuming", "cores"),
    "consume_client_cpu_s_gb": Metric("client CPU per GB consumed, librdkafka", "s"),
    "java_consume_broker_cores": Metric("brokers' cores, Kafka's client consuming", "cores"),
    "java_consume_client_cores": Metric("the client's cores, Kafka's client consuming", "cores"),
    "java_consume_client_cpu_s_gb": Metric("client CPU per GB consumed, Kafka's client", "s"),
    "tail_broker_cores": Metric("brokers' cores", "cores"),
    "tail_client_cores": Metric("the clients' cores", "cores"),
    "tail_client_cpu_s_gb": Metric("client CPU per GB delivered", "s"),
    "latency_broker_cores": Metric("brokers' cores", "cores"),
    "latency_client_cores": Metric("the client's cores", "cores"),
    "request_client_cpu_us": Metric("client CPU per request, librdkafka", "µs"),
    "request_broker_cores": Metric("brokers' cores, librdkafka", "cores"),
    "request_client_cores": Metric("the client's cores, librdkafka", "cores"),
    "bare_request_client_cpu_us": Metric("client CPU per request, bare sockets", "µs"),
    "bare_request_broker_cores": Metric("brokers' cores, bare sockets", "cores"),
    "bare_request_client_cores": Metric("the client's cores, bare sockets", "cores"),
}

# What Jackdaw has to reach, as a ratio to each baseline: at least where more is better, else at most.
BARS = {
    ("a-1k", "produce_mb_s"): {"kafka": 1.5, "kafka-fsync": 8},
    ("a-1k", "native_produce_mb_s"): {"kafka": 1.5, "kafka-fsync": 8},
    ("a-1k", "produce_cpu_s_gb"): {"kafka": 0.5},
    ("a-1k", "native_produce_cpu_s_gb"): {"kafka": 0.5},
    ("a-100", "produce_mb_s"): {"kafka": 1.3, "kafka-fsync": 8},
    ("a-100", "native_produce_mb_s"): {"kafka": 1.3, "kafka-fsync": 8},
    ("c-1k", "e2e_p50_ms"): {"kafka": 0.7, "kafka-fsync": 0.2},
    ("c-1k", "e2e_p99_ms"): {"kafka": 0.7, "kafka-fsync": 0.2},
    ("c-10k", "produce_p99_ms"): {"kafka": 0.7, "kafka-fsync": 0.1},
    ("e-catch-up", "native_consume_mb_s"): {"kafka": 1.5},
    ("e-catch-up", "consume_cpu_s_gb"): {"kafka": 0.4},
    ("f", "produce_mb_s"): {"kafka": 1.5},
    ("g", "requests_s"): {"kafka": 2, "kafka-fsync": 8},
    ("g", "bare_requests_s"): {"kafka": 2, "kafka-fsync": 8},
    ("h-1", "ready_ms"): {"kafka": 0.03},
    ("h-3", "ready_ms"): {"kafka": 0.03},
    ("i", "idle_mb"): {"kafka": 0.1},
    ("i", "loaded_mb"): {"kafka": 0.3},
}


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float
    runs: int


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Jackdaw's median to a baseline's; `holds` is None without a bar."""

    value: float
    bar: float | None
    holds: bool | None


@dataclasses.dataclass(frozen=True)
class Row:
    scenario: str
    metric: str
    # By mode, of those that ran.
    spreads: dict
    # By baseline, where it and Jackdaw ran.
    ratios: dict


def ratio(scenario, metric, spreads, baseline):
    ours, theirs = spreads.get("jackdaw"), spreads.get(baseline)
    if ours is None or theirs is None or METRICS[metric].more_is_better is None or theirs.median == 0:
        return None
    value, bar = ours.median / theirs.median, BARS.get((scenario, metric), {}).get(baseline)
    holds = None if bar is None else value >= bar if METRICS[metric].more_is_better else value <= bar
    return Ratio(value, bar, holds)


def rows(runs):
    """`runs` is a list of {"scenario", "mode", "metrics": {name: number}}; scenarios in the order of their first run."""
    found = []
    for scenario in dict.fromkeys(run["scenario"] for run in runs):
        of_it = [run for run in runs if run["scenario"] == scenario]
        for metric in METRICS:
            spreads = {}
            for mode in MODES:
                values = [run["metrics"][metric] for run in of_it if run["mode"] == mode and metric in run["metrics"]]
                if values:
                    spreads[mode] = Spread(statistics.median(values), min(values), max(values), len(values))
            if spreads:
                ratios = {name: ratio(scenario, metric, spreads, name) for name in BASELINES}
                found.append(Row(scenario, metric, spreads, {k: v for k, v in ratios.items() if v}))
    return found


def number(value):
    """Three digits that say something, and no more than that."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def spread_text(spread):
    if spread is None:
        return ""
    if spread.runs == 1:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}–{number(spread.most)})"


def ratio_text(found, more_is_better):
    if found is None:
        return ""
    text = f"{number(found.value)} ×"
    if found.bar is not None:
        text += f" ({'≥' if more_is_better else '≤'} {found.bar:g}: {'holds' if found.holds else 'MISSED'})"
    return text


HEADER = ["", "unit", *MODES.values(), "ratio to Kafka", "ratio to Kafka, fsync"]


def cells(row):
    metric = METRICS[row.metric]
    return [
        metric.label, metric.unit, *(spread_text(row.spreads.get(mode)) for mode in MODES),
        *(ratio_text(row.ratios.get(name), metric.more_is_better) for name in BASELINES),
    ]


def by_scenario(table):
    for scenario in dict.fromkeys(row.scenario for row in table):
        yield scenario, [row for row in table if row.scenario == scenario]


def text_table(table, titles):
    """For a terminal: a head line per scenario, columns aligned."""
    widths = [max(len(line[at]) for line in [HEADER, *map(cells, table)]) for at in range(len(HEADER))]
    aligned = lambda line: "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
    lines = [aligned(HEADER)]
    for scenario, of_it in by_scenario(table):
        lines += ["", f"{scenario}: {titles.get(scenario, '')}", *(aligned(cells(row)) for row in of_it)]
    return "\n".join(lines)


def markdown_table(table, titles):
    lines = ["| | " + " | ".join(HEADER) + " |", "|" + "---|" * (len(HEADER) + 1)]
    for scenario, of_it in by_scenario(table):
        for at, row in enumerate(of_it):
            first = f"**{scenario}** {titles.get(scenario, '')}" if at == 0 else ""
            lines.append("| " + " | ".join([first, *cells(row)]) + " |")
    return "\n".join(lines)


def verdict(table):
    """One line: how many bars hold."""
    bars = [found for row in table for found in row.ratios.values() if found.bar is not None]
    return f"{sum(found.holds for found in bars)} of {len(bars)} bars hold"


BEGIN, END = "<!-- bench-kafka: begin -->", "<!-- bench-kafka: end -->"


def replace_section(document, section):
    """`document` with what stands between the marks replaced; ValueError if it lacks them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{section.strip()}\n{END}{after}"


def merged_facts(known):
    """Facts of several invocations ({name: text} each) as (name, text): what differs is listed."""
    names = dict.fromkeys(name for each in known for name in each)
    return [(name, "; ".join(dict.fromkeys(each[name] for each in known if name in each))) for name in names]


def section(table, titles, facts, plot):
    """What goes into a document; `facts` are (name, text), `plot` the path of the plot as seen from the document."""
    listed = "\n".join(f"* {name}: {text}" for name, text in facts)
    picture = f"![Jackdaw to Apache Kafka, as ratios]({plot})\n\n" if plot else ""
    return f"{listed}\n\n{picture}{markdown_table(table, titles)}\n\n{verdict(table)}.\n"
