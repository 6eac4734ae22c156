"""The plot: throughput over the size of the layer, and the time of a tiny one."""

WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 380, 60, 50, 90
COLOURS = {"Keycell": "#0969da", "Go": "#bf8700", "skopeo": "#8c959f",
           "plain": "#8c959f", "encrypted": "#bf8700", "`--decompress`": "#0969da"}
DASHES = {"file": "", "pipe": ' stroke-dasharray="5 4"'}


def draw(points, bars):
    """An SVG. `points`: (who, way) to (size, MiB/s); `bars`: key to who to milliseconds."""
    half = (WIDTH - LEFT - GAP) // 2
    starts = columns("ms from start to exit, a layer of 1 KiB, by key", bars, LEFT + half + GAP, half)
    return svg(lines(points, LEFT, half) + starts)


def unpacking(bars):
    """An SVG. `bars`: containerd and image to way to seconds."""
    out = columns("s to unpack an image, by containerd and image", bars, LEFT, WIDTH - LEFT - 20)
    for i, way in enumerate(next(iter(bars.values()), [])):
        out.append(f'<rect x="{LEFT + 130 * i}" y="{HEIGHT - 22}" width="12" height="12" fill="{COLOURS[way]}"/>')
        out.append(text(LEFT + 130 * i + 18, HEIGHT - 12, way.strip("`")))
    return svg(out)


def svg(parts):
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    return "\n".join([*head, *parts, "</svg>", ""])


def lines(points, left, width):
    sizes = []
    for series in points.values():
        sizes += [size for size, _ in series if size not in sizes]
    top = ceiling(max((rate for series in points.values() for _, rate in series), default=1))
    x = {size: left + width * (i + 0.5) / len(sizes) for i, size in enumerate(sizes)}
    out = axes("MiB/s on one CPU, by size of the layer (dashed: pipe to pipe)", left, width, top)
    out += [text(place, HEIGHT - 45, size, "middle") for size, place in x.items()]
    for (who, way), series in points.items():
        path = " ".join(f"{x[size]:.1f},{y(rate, top):.1f}" for size, rate in series)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[who]}" stroke-width="2"{DASHES[way]}/>')
        out += [f'<circle cx="{x[size]:.1f}" cy="{y(rate, top):.1f}" r="3" fill="{COLOURS[who]}"/>'
                for size, rate in series]
    shown = sorted({who for who, _ in points}, key=list(COLOURS).index)
    for i, who in enumerate(shown):
        out.append(f'<rect x="{left + 90 * i}" y="{HEIGHT - 22}" width="12" height="12" fill="{COLOURS[who]}"/>')
        out.append(text(left + 90 * i + 18, HEIGHT - 12, who))
    return out


def columns(title, bars, left, width):
    top = ceiling(max((it for whose in bars.values() for it in whose.values()), default=1))
    out = axes(title, left, width, top)
    slot = width / max(len(bars), 1)
    for i, (key, whose) in enumerate(bars.items()):
        thick = slot * 0.7 / len(whose)
        for j, (who, value) in enumerate(whose.items()):
            at, height = left + slot * (i + 0.15) + thick * j, HEIGHT - 65 - y(value, top)
            out.append(f'<rect x="{at:.1f}" y="{y(value, top):.1f}" width="{thick:.1f}" '
                       f'height="{height:.1f}" fill="{COLOURS[who]}"/>')
            out.append(text(at + thick / 2, y(value, top) - 4, f"{value:.1f}", "middle", 9))
        kind, _, name = key.partition(" ")
        out.append(text(left + slot * (i + 0.5), HEIGHT - 48, kind, "middle", 10))
        out.append(text(left + slot * (i + 0.5), HEIGHT - 36, name, "middle", 10))
    return out


def axes(title, left, width, top):
    out = [text(left, TOP - 20, title, size=13)]
    for i in range(5):
        value = top * i / 4
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y(value, top):.1f}" y2="{y(value, top):.1f}" '
                   f'stroke="#d0d7de"/>')
        out.append(text(left - 6, y(value, top) + 4, f"{value:g}", "end"))
    return out


def y(value, top):
    return HEIGHT - 65 - (HEIGHT - 65 - TOP) * value / top


def ceiling(value):
    """The next of 1, 2, 4, 8 times a power of ten."""
    power = 1
    while True:
        for step in (1, 2, 4, 8):
            if step * power >= value:
                return step * power
        power *= 10


def text(x, y, words, anchor="start", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{words}</text>'
