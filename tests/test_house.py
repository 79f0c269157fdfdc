"""The house rules: which way imports point, what archives hold, what stays light."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_point_one_way() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_importing_the_package_needs_no_torch() -> None:
    code = "import sys, vjepa2_ac, vjepa2_ac.poses, vjepa2_ac.errors; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_a_wheel_holds_four_packages_and_proto_as_data(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vjepa2_ac", "planner", "server", "sim"}
    for package in ("vjepa2_ac", "planner", "server", "sim"):
        assert f"{package}/py.typed" in wheel.namelist()
    assert any(name.startswith("vjepa2_ac/proto/") for name in wheel.namelist())


def test_a_source_archive_holds_what_a_wheel_is_made_of_and_nothing_of_the_same_name(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path], cwd=ROOT, check=True)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    packages = {"vjepa2_ac", "planner", "server", "sim", "proto"}
    texts = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO"}
    assert tops - {".gitignore"} == packages | texts


def test_proto_is_never_a_python_package() -> None:
    assert not list((ROOT / "proto").rglob("*.py"))


def test_constraints_are_plain_pins() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+( ; .+)?", line), line


def test_project_texts_name_no_package_registry() -> None:
    hosts = re.compile(r"pypi\.org|pythonhosted|deb\.debian\.org|registry\.npmjs")
    named = [text for text in _texts() if text != Path(__file__) and hosts.search(text.read_text(errors="ignore"))]
    assert named == []


def test_links_between_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for link in re.findall(r"\]\(([^)\s]+)\)", _prose(document)):
            path, _, anchor = link.partition("#")
            there = document.parent / path if path else document
            assert link.startswith("https://") or there.exists(), f"{document.name} links to {link}"
            assert not anchor or link.startswith("https://") or anchor in _anchors(there), f"{document.name}: {link}"


def _prose(document: Path) -> str:
    """A document without its blocks of code, in which a # begins a comment."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(document: Path) -> set[str]:
    """Of a document's headings, as they are derived where it is shown."""
    headings = re.findall(r"^#+ (.+)$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def _texts() -> list[Path]:
    """What people wrote here, without asking git: an unpacked archive is a project too."""
    rooms = (
        "vjepa2_ac",
        "planner",
        "server",
        "sim",
        "proto",
        "tests",
        "benchmarks",
        "docker",
        "docs",
        "examples",
        ".ci",
    )
    files = [*ROOT.iterdir(), *(file for room in rooms for file in (ROOT / room).rglob("*"))]
    kinds = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".sh", ".html", ".js", ".proto", ""}
    return [file for file in files if file.is_file() and file.suffix in kinds]
