"""The house rules: which way imports point, what archives hold, what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("vjepa2_ac", "planner", "server", "sim")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = (*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["telemetry"])
NOT_IMPORTED = {
    "gymnasium-robotics",  # its folder of meshes is found
    "python-multipart",  # by starlette
    "tensorboard",  # by torch
    "torchvision",  # by timm
    "websockets",  # by uvicorn
}


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


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    declared = {canonicalize_name(Requirement(one).name) for one in DECLARED}
    bring = {
        module: {canonicalize_name(name) for name in names}
        for module, names in metadata.packages_distributions().items()
    }
    imported = {name for package in PACKAGES for name in _imports(package)} - set(PACKAGES) - sys.stdlib_module_names
    assert [name for name in imported if not bring[name] & declared] == []
    assert declared - NOT_IMPORTED <= {name for module in imported for name in bring[module]}


def _imports(package: str) -> Iterator[str]:
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_constraints_pin_all_that_an_installation_brings() -> None:
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = [Requirement(one) for one in (*DECLARED, *PROJECT["dependency-groups"]["dev"])]
    seen = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        if (name, *one.extras) in seen:
            continue
        seen.add((name, *one.extras))
        assert name in pinned, name
        needs = [Requirement(line) for line in metadata.requires(name) or []]
        extras = [{"extra": extra} for extra in ("", *one.extras)]
        wanted += [need for need in needs if not need.marker or any(map(need.marker.evaluate, extras))]


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
