"""What was measured, and what follows from it: samples by round, rows with goals, a table and JSON."""

from .process import median, show_size


class Book:
    """Samples of one run of the bench, in rounds, and the rows made of them."""

    def __init__(self):
        self.samples = {}
        self.rows = []
        self.skipped = []
        self.notes = []
        # CPU seconds of a contestant that writes and verifies one block.
        self.starts = {}

    def add(self, place, block_size, who, sample):
        self.samples.setdefault((place, block_size, who), []).append(sample)

    def all(self, place, block_size, who, key):
        return [sample[key] for sample in self.samples.get((place, block_size, who), [])]

    def median(self, place, block_size, who, key):
        return median(self.all(place, block_size, who, key))

    def ratio(self, place, block_size, ours, theirs, key, their_key=None):
        """The median of the rounds' ratios: two neighbours in time are compared, so that a drift of the machine hits both."""
        pairs = zip(self.all(place, block_size, ours, key), self.all(place, block_size, theirs, their_key or key))
        return median([one / other for one, other in pairs if one is not None and other])

    def row(self, what, place, block_size, value, goal=None, unit="×", detail=""):
        """`goal` is (">=" or "<=" or "<", number); None for a figure that is only told."""
        met = None
        if goal and value is not None:
            sign, bound = goal
            met = {">=": value >= bound, "<=": value <= bound, "<": value < bound}[sign]
        self.rows.append({"what": what, "place": place, "block_size": block_size, "value": value, "unit": unit,
                          "goal": f"{goal[0]} {goal[1]:g}" if goal else None, "met": met, "detail": detail})

    def skip(self, what, why):
        """A row that could not be measured is counted, and says why."""
        self.skipped.append({"what": what, "why": why})

    def compare(self, what, place, block_size, ours, theirs, key, goal=None, their_key=None, unit="×"):
        """A row of two contestants, with their medians beside the ratio."""
        value = self.ratio(place, block_size, ours, theirs, key, their_key)
        if value is None:
            return
        one, other = (self.median(place, block_size, who, key) for who, key in ((ours, key), (theirs, their_key or key)))
        self.row(what, place, block_size, value, goal, unit, f"{number(one)} : {number(other)}")

    def json(self, about):
        samples = [{"place": place, "block_size": block_size, "who": who, "rounds": rounds}
                   for (place, block_size, who), rounds in self.samples.items()]
        return {"schema": 1, **about, "rows": self.rows, "skipped": self.skipped, "notes": self.notes, "starts_cpu_s": self.starts,
                "samples": samples}


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def markdown(head, rows):
    """A table that reads well as it stands, and as Markdown."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


GOALS = ["what", "where", "block", "measured", "goal", "met", "scrubd : other"]


def goals_table(rows):
    words = {True: "yes", False: "**no**", None: ""}
    signs = {">=": "≥", "<=": "≤", "<": "<"}
    cells = []
    for row in rows:
        goal = row["goal"] or ""
        for sign, shown in signs.items():
            if goal.startswith(sign + " "):
                goal = f"{shown} {goal.split()[1]}"
                break
        measured = f"{number(row['value'])} {row['unit']}".strip()
        block = show_size(row["block_size"]) if row["block_size"] else ""
        cells.append([row["what"], row["place"] or "", block, measured, goal, words[row["met"]], row["detail"]])
    return markdown(GOALS, cells)


def samples_table(samples):
    head = ["where", "block", "who", "write MiB/s", "verify MiB/s", "CPU s/GiB", "peak MiB"]
    cells = []
    for (place, block_size, who), rounds in samples.items():
        if "cpu" not in rounds[0]:
            continue
        columns = [number(median([sample.get(key) for sample in rounds])) for key in ("write", "verify", "cpu", "peak_mib")]
        cells.append([place, show_size(block_size), who, *columns])
    return markdown(head, cells)
