"""The figures as Markdown: a table a model, the goals, and what it was measured on."""

from .goals import checks

BEGIN = "<!-- figures: begin, written by bench/run.py --write-docs -->"
END = "<!-- figures: end -->"


def markdown(results):
    parts = [setup(results)]
    parts += [model_table(results, model) for model in results["plan"]["models"]]
    parts.append(goals_table(results))
    if results["failures"]:
        parts.append("### Not measured\n\n" + "\n".join(f"- {failure}" for failure in results["failures"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def setup(results):
    machine, plan = results["machine"], results["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured on {machine['date']}: {machine['cores']} cores of {machine['processor']}, "
        f"{machine['memory_gb']} GB, {machine['system']}, Linux {machine['kernel']}; "
        f"{plan['duration_s']} s a figure after {plan['warmup_s']} s of warm-up; "
        f"load average before the run {machine['load_average_before']}.\n\n"
        f"Versions: {versions}."
    )


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def model_table(results, model):
    connections = [str(count) for count in results["plan"]["connections"]]
    header = ["", *(f"req/s at {count}" for count in connections)]
    header += [f"p50 / p99 ms at {count}" for count in connections]
    header += ["memory MB, PSS (RSS)", "first answer s"]
    rows = [model_row(row, connections) for row in results["rows"] if row["model"] == model]
    return f"### {model}\n\n" + table(header, rows) if rows else ""


def model_row(row, connections):
    loads = [row["load"][count] for count in connections]
    cells = [row["title"], *(f"{load['rps']:,.0f}" for load in loads)]
    cells += [f"{load['p50_ms']:.2f} / {load['p99_ms']:.2f}" for load in loads]
    memory = row["memory"]
    return [*cells, f"{memory['pss_mb']:.0f} ({memory['rss_mb']:.0f})", f"{row['first_answer_s']:.2f}"]


def goals_table(results):
    found = checks(results["rows"], results["plan"]["models"], results["kea"])
    rows = [[check.goal, check.model, measured(check), bound(check), verdict(check)] for check in found]
    header = ["goal", "model", "measured", "wanted", "met"]
    return "### Goals\n\n" + table(header, rows) if rows else ""


def measured(check):
    return f"{check.value:.2f}{check.unit}"


def bound(check):
    word = "below" if check.below else "at most" if check.at_most else "at least"
    return f"{word} {check.bound:g}{check.unit}" if check.wanted else "-"


def verdict(check):
    if not check.wanted:
        return "-"
    return "yes" if check.met() else "**no**"


def write_into(document, text, begin=BEGIN, end=END):
    """Puts the figures between the document's two markers; what people wrote around them stays."""
    content = document.read_text()
    before, found_begin, rest = content.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise RuntimeError(f"{document} has no markers for the figures")
    document.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")
