"""The figures of docs/performance.md as SVG. They bring their own background, and a dark one where the reader asks for it."""

import math

from contenders import ROWS
from targets import Numbers

WIDTH, HEIGHT = 1000, 460
COLORS = ["#0969da", "#8250df", "#bf3989", "#d1570a", "#1a7f37", "#9a6700", "#57606a", "#0f766e", "#b42318", "#4f46e5", "#a16207"]
COLOR = {row.name: color for row, color in zip(ROWS, COLORS)}
STYLE = """<style>
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .small { font-size: 11.5px } .title { font-size: 15px; font-weight: 600 }
  .card { fill: #ffffff; stroke: #d0d7de } .grid { stroke: #e4e8ec } .axis { stroke: #6e7781; fill: none }
  .roof { stroke: #1f2328; fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .card { fill: #161b22; stroke: #30363d } .grid { stroke: #2a3038 } .axis { stroke: #8b949e } .roof { stroke: #e6edf3 }
    .mark { filter: brightness(1.55) }
  }
</style>"""


def escape(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class Plot:
    """One set of axes at a place of the figure. x and y map values to [0, 1]."""

    def __init__(self, left, top, width, height, x, y, title):
        self.left, self.top, self.width, self.height, self.x, self.y = left, top, width, height, x, y
        self.parts = [self.text(left + width / 2, top - 14, title, "title", "middle")]

    @staticmethod
    def text(x, y, words, style="", anchor="start"):
        return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'

    def at(self, x, y):
        return self.left + self.width * self.x(x), self.top + self.height * (1 - self.y(y))

    def axes(self, x_ticks, y_ticks, x_label, y_label):
        """Ticks: (value, text)."""
        bottom, right = self.top + self.height, self.left + self.width
        for value, text in x_ticks:
            x = self.left + self.width * self.x(value)
            self.parts.append(f'<path class="grid" d="M{x:.1f} {self.top}V{bottom}"/>' + self.text(x, bottom + 17, text, "small", "middle"))
        for value, text in y_ticks:
            y = self.top + self.height * (1 - self.y(value))
            self.parts.append(f'<path class="grid" d="M{self.left} {y:.1f}H{right}"/>' + self.text(self.left - 7, y + 4, text, "small", "end"))
        self.parts.append(f'<path class="axis" d="M{self.left} {self.top}V{bottom}H{right}"/>')
        self.parts.append(self.text(self.left + self.width / 2, bottom + 37, x_label, "", "middle"))
        x, y = self.left - 46, self.top + self.height / 2
        self.parts.append(f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')

    def line(self, points, color=None, style="mark"):
        d = "M" + "L".join("{:.1f} {:.1f}".format(*self.at(*point)) for point in points)
        look = f'stroke="{color}" fill="none" stroke-width="2"' if color else ""
        self.parts.append(f'<path class="{style}" {look} d="{d}"/>')

    def mark(self, x, y, color, radius=4.5, filled=True, note=""):
        cx, cy = self.at(x, y)
        fill = color if filled else "none"
        self.parts.append(
            f'<circle class="mark" cx="{cx:.1f}" cy="{cy:.1f}" r="{radius}" fill="{fill}" stroke="{color}" stroke-width="1.6">'
            f"<title>{escape(note)}</title></circle>"
        )


def figure(title, plots, legend):
    """legend: (color, text), under the plots."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">', STYLE]
    parts.append(f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>')
    for plot in plots:
        parts += plot.parts
    for i, (color, text) in enumerate(legend):
        x, y = 70 + i % 5 * 186, HEIGHT - 36 + i // 5 * 20
        parts.append(f'<circle class="mark" cx="{x}" cy="{y - 4}" r="5" fill="{color}"/>' + Plot.text(x + 11, y, text, "small"))
    return "\n".join(parts) + "\n</svg>\n"


def logarithmic(low, high):
    return lambda value: (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))


def shown(report, computes):
    """Contenders with numbers, ours first."""
    names = {name for case in report["layers"] for name in case["contenders"]}
    return [row for row in ROWS if row.name in names and row.computes in computes]


def dtypes_of(report):
    return [dtype for dtype in ("f32", "bf16") if any(case["dtype"] == dtype for case in report["layers"])]


def panels(count):
    width = (WIDTH - 70 * (count + 1) + 30) / count
    return [(75 + i * (width + 70), 46, width, HEIGHT - 46 - 100) for i in range(count)]


def intensity(report, case):
    """Operations a byte of the weights that must be read and of the tokens in and out."""
    s, tokens = report["runs"]["layers"]["shape"], case["tokens"]
    size = {"f32": 4, "bf16": 2}[case["dtype"]]
    operations = 4 * s["d_model"] * s["d_ff"] * tokens
    return operations, operations / (case["experts_read"] * 2 * s["d_model"] * s["d_ff"] * size + 2 * tokens * s["d_model"] * 4)


def roofline(report):
    numbers, plots, rows = Numbers(report), [], shown(report, ("moe", "experts"))
    dtypes = dtypes_of(report)
    read, top = numbers.run("layers")["ceilings"]["read_gigabytes_per_second"], max(numbers.ceiling(dtype) for dtype in dtypes)
    low_x, high_x, low_y, high_y = 0.25, 2048, 2, 10 ** math.ceil(math.log10(1.05 * top))
    for dtype, place in zip(dtypes, panels(len(dtypes))):
        peak = numbers.ceiling(dtype)
        plot = Plot(*place, logarithmic(low_x, high_x), logarithmic(low_y, high_y), f"{dtype}: {peak:.0f} GFLOP/s, {read:.1f} GB/s")
        x_ticks = [(2.0**i, f"{2.0**i:g}") for i in range(-2, 12, 2)]
        y_ticks = [(value, f"{value:g}") for e in range(0, 6) for value in (10**e, 3 * 10**e) if low_y <= value <= high_y]
        plot.axes(x_ticks, y_ticks, "operations a byte (weights once, tokens in and out)", "GFLOP/s")
        plot.line([(max(low_x, low_y / read), max(low_x * read, low_y)), (peak / read, peak), (high_x, peak)], style="roof")
        for row in reversed(rows):  # ours on top
            for case in report["layers"]:
                record = case["contenders"].get(row.name)
                if record and case["dtype"] == dtype:
                    operations, x = intensity(report, case)
                    y = 1e-9 * operations / record["median_seconds"]
                    if y >= low_y:
                        note = f"{row.label}, {case['tokens']} tokens: {y:.1f} GFLOP/s"
                        ours = row.name == "ours_moe"
                        plot.mark(x, y, COLOR[row.name], 5.5 if ours else 4, ours, note)
        plots.append(plot)
    return figure("Roofline of the MoE layer", plots, [(COLOR[row.name], row.label) for row in rows])


def peers(report):
    plots, rows = [], shown(report, ("moe", "experts"))
    for dtype, place in zip(dtypes_of(report), panels(len(dtypes_of(report)))):
        cases = [case for case in report["layers"] if case["dtype"] == dtype]
        tokens = [case["tokens"] for case in cases]
        speeds = [1 / r["ratio_to_ours_moe"] for case in cases for r in case["contenders"].values() if "ratio_to_ours_moe" in r]
        high = max(1.2, math.ceil(5 * max(speeds, default=1) + 0.25) / 5)
        plot = Plot(*place, lambda i, n=len(tokens): (i + 0.5) / n, lambda value, high=high: value / high, f"{dtype}: speed, hmoec's MoE = 1")
        step = 0.2 if high <= 2 else 0.5
        y_ticks = [(i * step, f"{i * step:.1f}") for i in range(round(high / step) + 1)]
        plot.axes([(i, str(count)) for i, count in enumerate(tokens)], y_ticks, "tokens", "times the speed of hmoec")
        for row in reversed(rows):
            points = [(i, 1 / case["contenders"][row.name]["ratio_to_ours_moe"]) for i, case in enumerate(cases)
                      if "ratio_to_ours_moe" in case["contenders"].get(row.name, {})]  # fmt: skip
            if points:
                plot.line(points, COLOR[row.name])
            for i, speed in points:
                plot.mark(i, speed, COLOR[row.name], 4, True, f"{row.label}, {tokens[i]} tokens: {speed:.2f}")
        plots.append(plot)
    return figure("Speed of the peers relative to hmoec", plots, [(COLOR[row.name], row.label) for row in rows])
