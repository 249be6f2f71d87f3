#!/usr/bin/env python3
"""Draws the figures of `clickstream_costs.py`: wall seconds, CPU seconds and peak memory over events, each axis logarithmic.

    python benches/clickstream/chart.py [docs/charts/clickstream-costs.json] [--out docs/charts]

One SVG each, legible on light and dark ground as the charts of `growth` are. A tool that failed at a size has no point there.
Prints the same figures as a table in Markdown.
"""
import argparse, json, math, pathlib
from xml.sax.saxutils import escape

STYLE = """text{font:12px system-ui,sans-serif;fill:#3d444d}.title{font-size:14px;font-weight:600;fill:#1f2328}.grid{stroke:#d1d9e0}
.s0{stroke:#0072b2;fill:#0072b2}.s1{stroke:#b35900;fill:#b35900}.s2{stroke:#00704f;fill:#00704f}.s3{stroke:#8f4b8f;fill:#8f4b8f}
path{stroke-width:2;fill:none!important}path.s1,path.s3{stroke-dasharray:7 4}text.s0,text.s1,text.s2,text.s3{stroke:none;font-weight:600}
@media(prefers-color-scheme:dark){text{fill:#b7bdc8}.title{fill:#f0f6fc}.grid{stroke:#3d444d}.s0{stroke:#4fa8e0;fill:#4fa8e0}
.s1{stroke:#f0a03c;fill:#f0a03c}.s2{stroke:#2fbf91;fill:#2fbf91}.s3{stroke:#d08fd0;fill:#d08fd0}}"""
CHARTS = {
    "wall": ("Wall seconds of ingest, features and attribution", "s"),
    "cpu": ("CPU seconds of ingest, features and attribution", "s"),
    "peak": ("Peak memory of the process", "MiB"),
}
STAGES = ["ingest", "features", "attribute"]
LEFT, RIGHT, TOP, HEIGHT, WIDTH = 74, 150, 46, 250, 640


def value(figures, what):
    if "failed" in figures:
        return None
    return figures["peak"] if what == "peak" else sum(figures["stages"][stage][what] for stage in STAGES)


def steps(low, high):
    """1, 2 and 5 of each decade that `low` to `high` touches, trimmed to them."""
    every = [m * 10.0**e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    first = max(i for i, step in enumerate(every) if step <= low)
    last = min(i for i, step in enumerate(every) if step >= high) if every[-1] >= high else len(every) - 1
    return every[first : last + 1]


def short(number):
    return f"{number / 1e6:g} million" if number >= 1e6 else f"{number:,.0f}" if number >= 1 else f"{number:g}"


def chart(figures, what):
    title, unit = CHARTS[what]
    sizes = {int(events): size["tools"] for events, size in figures["sizes"].items()}
    tools = list(dict.fromkeys(tool for size in sizes.values() for tool in size))
    lines = {tool: {n: v for n, size in sizes.items() if tool in size and (v := value(size[tool], what))} for tool in tools}
    every = [v for line in lines.values() for v in line.values()]
    ticks = steps(min(every), max(every))
    low, high, first, last = math.log(ticks[0]), math.log(ticks[-1]), math.log(min(sizes)), math.log(max(sizes))
    x = lambda n: LEFT + (math.log(n) - first) / max(last - first, 1e-9) * (WIDTH - LEFT - RIGHT)
    y = lambda v: TOP + HEIGHT - (math.log(v) - low) / max(high - low, 1e-9) * HEIGHT
    parts = [f'<text x="0" y="16" class="title">{title}</text>']
    for tick in ticks:
        parts.append(f'<line x1="{LEFT}" y1="{y(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{y(tick):.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)} {unit}</text>')
    for n in sizes:
        parts.append(f'<text x="{x(n):.1f}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{n / 1e6:g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{TOP + HEIGHT + 40}" text-anchor="middle">million events</text>')
    ends = []
    for at, (tool, line) in enumerate(lines.items()):
        points = [(x(n), y(v), n, v) for n, v in sorted(line.items())]
        if not points:
            continue
        parts.append(f'<path class="s{at}" d="M' + "L".join(f"{px:.1f} {py:.1f}" for px, py, *_ in points) + '"/>')
        for px, py, n, v in points:
            tip = escape(f"{tool}: {v:,.1f} {unit} at {short(n)} events")
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" class="s{at}"><title>{tip}</title></circle>')
        ends.append((points[-1][1], at, tool))
    lowest = -math.inf
    for end, at, tool in sorted(ends):  # names moved apart where lines meet
        lowest = max(end + 4, lowest + 16)
        parts.append(f'<text x="{WIDTH - RIGHT + 9}" y="{lowest:.1f}" class="s{at}">{escape(tool)}</text>')
    about = "; ".join(f"{tool}: " + ", ".join(f"{v:,.1f} {unit} at {short(n)}" for n, v in sorted(line.items())) for tool, line in lines.items())
    height = TOP + HEIGHT + 46
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="t d">
<title id="t">{title}</title><desc id="d">Over events, both logarithmic. {escape(about)}</desc><style>{STYLE}</style>
{"".join(parts)}
</svg>
'''


def row(events, tool, figures):
    """Each stage as wall / CPU seconds."""
    pair = lambda f: f"{f['wall']:.1f} / {f['cpu']:.1f}"
    cells = [pair(figures["stages"][stage]) if stage in figures["stages"] else "" for stage in STAGES]
    if "failed" in figures:
        why = "out of memory" if "memory" in figures["failed"].lower() or "signal 9" in figures["failed"] else "failed"
        return f"| {short(events)} | {tool} | {' | '.join(cells)} | {why} | | |"
    total = pair({what: value(figures, what) for what in ["wall", "cpu"]})
    return f"| {short(events)} | {tool} | {' | '.join(cells)} | {total} | {pair(figures)} | {figures['peak']:,.0f} |"


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("json", nargs="?", default="docs/charts/clickstream-costs.json")
ap.add_argument("--out", default="docs/charts")
a = ap.parse_args()
figures = json.loads(pathlib.Path(a.json).read_text())
for what in CHARTS:
    (pathlib.Path(a.out) / f"clickstream-costs-{what}.svg").write_text(chart(figures, what))
print("| events | | ingest | features | attribution | the three | process | peak MiB |\n|---:|---|---:|---:|---:|---:|---:|---:|")
for events, size in figures["sizes"].items():
    for tool, taken in size["tools"].items():
        print(row(int(events), tool, taken))
