"""Checks of the tree that clippy cannot make. Prints every breach; ends with 1 if there is one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A crate may depend on those below it, never the other way round: see ARCHITECTURE.md.
LAYERS = {
    "coney-base": set(),
    "coney-resp": set(),
    "coney-conversation": {"coney-base"},
    "coney-xdp-prog": set(),
    "coney-dpdk": {"coney-base"},
    "coney-datapath": {"coney-base", "coney-dpdk", "coney-xdp-prog"},
    "coney-memtable": set(),
    "coney-load": {"coney-base", "coney-datapath", "coney-xdp-prog"},
    "coney-spdk-env": {"coney-base"},
    "coney-spdk-env-shim": {"coney-base", "coney-spdk-env"},
    "coney-engine": {"coney-base", "coney-resp", "coney-memtable", "coney-spdk-env-shim"},
    "coney-control": {"coney-base", "coney-resp", "coney-engine", "coney-datapath"},
    "coney-bench": {"coney-base", "coney-resp", "coney-engine"},
    "coney-server": {"coney-base", "coney-resp", "coney-engine", "coney-datapath", "coney-control", "coney-load", "coney-xdp-prog",
                     "coney-spdk-env", "coney-spdk-env-shim"},
}
LINES_MAX = 900


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in out.stdout.splitlines() if (ROOT / name).is_file()]


def crate_breaches():
    for manifest in tracked("*Cargo.toml"):
        crate = tomllib.loads(manifest.read_text())
        name = crate.get("package", {}).get("name")
        if name is None or name not in LAYERS:
            continue
        for dependency in crate.get("dependencies", {}):
            if dependency.startswith("coney-") and dependency not in LAYERS[name]:
                yield f"{manifest.relative_to(ROOT)}: {name} must not depend on {dependency}"
        if not crate.get("lints", {}).get("workspace"):
            yield f"{manifest.relative_to(ROOT)}: [lints] workspace = true is missing"


def source_breaches():
    for file in tracked("*.rs"):
        name = file.relative_to(ROOT)
        text = file.read_text()
        in_sys = "sys" in name.parts or file.name in ("sys.rs", "ffi.rs") or "ffi" in name.parts
        if re.search(r"\bunsafe\s*(\{|fn|impl)", text) and not in_sys:
            yield f"{name}: unsafe code outside a sys or ffi module"
        is_test = "tests" in name.parts or file.name == "tests.rs"
        if text.count("\n") > LINES_MAX and not is_test:
            yield f"{name}: more than {LINES_MAX} lines: is it still one concept?"
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"\b(FIXME|XXX)\b|TODO(?!\(#)", line):
                yield f"{name}:{number}: an unfinished mark"


def executable_breaches():
    for name in ("ci/serve", "ci/test", ".ci/run", "ci/kills", "ci/power-cuts", "bench/compare", "bench/frames", "bench/storage",
                 "bench/options", "bench/scaling", "bench/lines", "bench/executable"):
        path = ROOT / name
        if path.exists() and not path.stat().st_mode & 0o100:
            yield f"{name}: has no run bit"


def compatibility_breaches():
    doc = "docs/compatibility.md"
    rows = re.findall(r"^\| ([A-Z_-]+) \| (yes|partly|no) \|", (ROOT / doc).read_text(), re.M)
    names = [name for name, _ in rows]
    documented = {name for name, served in rows if served != "no"}
    # `row` is what some groups call their own constructor.
    row = re.compile(r'\b(?:CommandSpec::new|row)\(\s*"([a-z_-]+)"')
    coded = {name.upper() for file in tracked("engine/src/command/table/*.rs") for name in row.findall(file.read_text())}
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{doc}: {name} has more than one row"
    for name in sorted(coded - documented):
        yield f"{doc}: {name} is in the command table, but not listed with yes or partly"
    for name in sorted(documented - coded):
        yield f"{doc}: {name} is listed with yes or partly, but is not served"


def main():
    breaches = [*crate_breaches(), *source_breaches(), *executable_breaches(), *compatibility_breaches()]
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
