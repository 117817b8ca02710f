"""A record for people: machine, a line for each competitor, what each includes."""

from typing import Any


def table(record: dict[str, Any]) -> str:
    """The text of a record that `timing.measure` made."""
    problem, threads = record["problem"], record["threads"]
    members = f", {problem['members']} members" if problem["members"] > 1 else ""
    warm = record.get("warm_up_steps")
    lines = [
        *machine_lines(record["machine"]),
        f"threads: {pinned(threads)}",
        f"network {'-'.join(map(str, problem['layer_sizes']))}{members}, "
        + (f"batch {problem['batch_size']}, " if warm else "")
        + f"{record['rounds']} rounds of {record['count_per_turn']}"
        + (f" steps after {warm} to warm up" if warm else " calls")
        + "; float32 products in float32, no TF32 but where a row says so",
        "",
    ]
    has_ceiling = any(row["share_of_ceiling"] is not None for row in record["rows"])
    lines.append(
        f"{'us per ' + record['unit']:28}{'device':7}{'precision':11}{'median':>10}"
        f"{'min..max':>21}{'x products':>12}"
        + (f"{'of ceiling':>12}" if has_ceiling else "")
        + f"{'answer within':>15}  notes"
    )
    meanings: dict[str, str] = {}
    for row in sorted(record["rows"], key=_place):
        start = f"{row['name']:28}{row['device']:7}{row['precision']:11}"
        if row["status"] != "timed":
            lines.append(f"{start}{row['status']}: {row['cause'].partition(chr(10))[0]}")
            continue
        spread = f"{min(row['microseconds']):.1f}..{max(row['microseconds']):.1f}"
        share = row["share_of_ceiling"]
        lines.append(
            f"{start}{row['median']:10.1f}{spread:>21}{_shown(row['ratio_to_products'], '.2f'):>12}"
            + (f"{_shown(share, '.0%'):>12}" if has_ceiling else "")
            + f"{_shown(row['difference'], '.1e'):>15}  {'; '.join(row['notes'])}".rstrip()
        )
        meanings.setdefault(row["includes"], row["name"])
    return "\n".join([*lines, "", *(f"{name}: {said}" for said, name in meanings.items())])


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """The machine in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, "
        f"{machine['system']}",
        f"Python {machine['python']}, {versions}, NumPy's BLAS {machine['numpy_blas']}",
    ]


def pinned(threads: dict[str, Any]) -> str:
    """How many threads each library may use."""
    blas = threads["blas"]
    if not isinstance(blas, str):
        pools = [
            f"{pool['internal_api']} {pool['version']} {pool.get('architecture') or ''}: "
            f"{pool['num_threads']}"
            for pool in blas
        ]
        blas = ", ".join(dict.fromkeys(pools))
    asked = threads["requested"]
    chosen = "as each library chooses" if asked is None else f"pinned to {asked}"
    environment = " ".join(f"{name}={value}" for name, value in threads["environment"].items())
    return (
        f"{chosen}; process on {threads['schedulable_cores']} core(s), which JAX's pool follows; "
        f"{blas}; torch {threads.get('torch', 'not loaded')}; "
        f"environment: {environment or 'no variable set'}"
    )


def _shown(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _place(row: dict[str, Any]) -> tuple[object, ...]:
    """Device by device, precision by precision, quickest first; what has no time at the end."""
    timed = row["status"] == "timed" and row["median"] is not None
    return (not timed, row["device"], row["precision"], row["median"] if timed else 0.0)
