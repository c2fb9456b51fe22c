"""The plot: per figure with a ratio a bar, Jackdaw to Kafka on a logarithmic scale, as SVG."""

import math
from xml.sax.saxutils import escape

from report import BASELINES, METRICS, number

COLOURS = {"kafka": "#2a6f97", "kafka-fsync": "#a9c4d4"}
LABEL_WIDTH, PLOT_WIDTH, BAR_HEIGHT, GAP, TOP = 460, 520, 12, 8, 64


def advantage(row, baseline):
    """How many times as good Jackdaw is: above 1 it is ahead, whichever way the figure counts."""
    value = row.ratios[baseline].value
    return value if METRICS[row.metric].more_is_better else 1 / value


def bar_of(row, baseline):
    """The bar in the same terms, None without one."""
    bar = row.ratios[baseline].bar
    return bar if bar is None or METRICS[row.metric].more_is_better else 1 / bar


def decades(values):
    """Powers of ten that hold all values, and 1."""
    return math.floor(math.log10(min(values + [0.5]))), math.ceil(math.log10(max(values + [2])))


def text(x, y, what, anchor="start", size=11, colour="#222"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(what)}</text>'


def line(x, top, bottom, colour, width=1, dash=""):
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def svg(table):
    """An SVG document; bars to the right of 1 are figures in which Jackdaw is ahead. A tick marks what has to be reached."""
    shown = [row for row in table if any(found.value > 0 for found in row.ratios.values())]
    pairs = [(row, name) for row in shown for name in BASELINES if name in row.ratios and row.ratios[name].value > 0]
    low, high = decades([advantage(*pair) for pair in pairs] + [bar for pair in pairs if (bar := bar_of(*pair))])
    at = lambda value: LABEL_WIDTH + (math.log10(value) - low) / (high - low) * PLOT_WIDTH
    drawn, y = [], TOP
    for row in shown:
        names = [name for name in BASELINES if (row, name) in pairs]
        middle = y + BAR_HEIGHT * len(names) / 2 + 4
        drawn.append(text(LABEL_WIDTH - 8, middle, f"{row.scenario}  {METRICS[row.metric].label}", "end"))
        for name in names:
            value, bar = advantage(row, name), bar_of(row, name)
            left, right = sorted((at(1), at(value)))
            drawn.append(
                f'<rect x="{left:.1f}" y="{y}" width="{max(right - left, 0.5):.1f}" height="{BAR_HEIGHT - 2}" '
                f'fill="{COLOURS[name]}"/>'
            )
            if bar:
                drawn.append(line(at(bar), y - 1, y + BAR_HEIGHT - 1, "#c1121f", 2))
            drawn.append(text(max(right, at(1)) + 5, y + BAR_HEIGHT - 3, f"{number(value)} ×", size=9, colour="#555"))
            y += BAR_HEIGHT
        y += GAP
    width, height = LABEL_WIDTH + PLOT_WIDTH + 70, y + 10
    grid = [line(at(10.0**power), TOP - 8, y, "#222" if power == 0 else "#ddd") for power in range(low, high + 1)]
    scale = [text(at(10.0**power), TOP - 14, f"{10.0**power:g} ×", "middle", 10, "#555") for power in range(low, high + 1)]
    key, x = [text(8, 20, "How many times as good as Apache Kafka (right of 1: Jackdaw is ahead)", size=14)], LABEL_WIDTH
    for name, label in BASELINES.items():
        key += [f'<rect x="{x}" y="28" width="10" height="10" fill="{COLOURS[name]}"/>', text(x + 15, 37, f"to {label}")]
        x += 150
    key += [line(x + 5, 27, 39, "#c1121f", 2), text(x + 15, 37, "to be reached")]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif">\n<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join([*grid, *scale, *key, *drawn])
        + "\n</svg>\n"
    )
