"""The documents say what is there: commands, options, settings, rooms and links."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".cache", ".git", "target", "node_modules", "kea-data", "bench"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not SKIPPED & set(path.relative_to(ROOT).parts) and "templates" not in path.parts
)


def help_of(binary: Path, *command: str) -> str:
    return subprocess.run([binary, *command, "--help"], capture_output=True, text=True, check=True).stdout


def own_options(text: str) -> set[str]:
    own = text.partition("Global options:")[0]
    return set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", own, re.MULTILINE)) - {"help", "version"}


def code_of(path: Path) -> str:
    return " ".join(re.findall(r"`([^`\n]+)`", path.read_text()))


def test_the_readme_lists_every_command(binary: Path) -> None:
    listed = help_of(binary).partition("Commands:")[2].partition("Options:")[0]
    commands = set(re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE)) - {"help"}
    assert commands
    assert commands <= set(re.findall(r"kea ([a-z]+)", code_of(ROOT / "README.md")))


@pytest.mark.parametrize("command", ["serve", "deploy", "update"])
def test_the_reference_has_every_option(binary: Path, command: str) -> None:
    documented = set(re.findall(r"--([a-z-]+)", (ROOT / "docs/configuration.md").read_text()))
    elsewhere = {"source", "file", "no-wait"}  # what is done, rather than how a service is set up
    options = own_options(help_of(binary, command))
    assert options
    assert options - elsewhere <= documented


def test_the_reference_has_every_key_of_the_file(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "kea.toml").write_text("no-such-key = 1")
    refused = subprocess.run([binary, "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    known = re.search(r"there are ([a-z, -]+)", " ".join(refused.stderr.split()))
    assert known
    keys = set(re.split(r", | and ", known.group(1).strip()))
    assert {"listen", "body-limit"} <= keys
    assert keys <= set(re.findall(r"^\| `([a-z-]+)`", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE))


def test_rooms_import_what_the_architecture_says() -> None:
    rows = re.findall(r"^\| \d \| (\w+) \| ([\w, ]*?) ?\|$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    written = {room: {name for name in imports.split(", ") if name} for room, imports in rows}
    real = {}
    for manifest in ROOT.glob("crates/*/Cargo.toml"):
        dependencies = tomllib.loads(manifest.read_text()).get("dependencies", {})
        real[manifest.parent.name] = {name.removeprefix("kea-") for name in dependencies if name.startswith("kea-")}
    assert written == real


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
