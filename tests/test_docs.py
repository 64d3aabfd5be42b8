"""The site: it builds without a warning, reaches every page, names everything public, and carries what it links to."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import pytest

import xlenet
from tests.libraries import open_partner, skip_or_fail
from tests.test_imports import FLOORS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
# Whose names the API reference must have: what they list, or else their own public functions and classes.
MODULES = ("xlenet", "xlenet.data", "xlenet.training", "xlenet.testing", "xlenet.plotting", "xlenet.errors")
MODULES += ("xlenet.checkpoint", "xlenet.trained", "xlenet.snapshots", "xlenet.losses", "xlenet.optim", "xlenet.layers")
MODULES += ("xlenet.interop", "xlenet.schedules", "xlenet.models", "xlenet.inside")
# Two names for one function, one of them in the reference; and what only neighbours in the package call.
SHOWN_AS = {f"xlenet.{name}": f"xlenet.functional.{name}" for name in ("img2col", "col2img")}
FOR_OTHER_MODULES = {"xlenet.checkpoint.read_arrays", "xlenet.training.check_finite"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in ("sphinx", "myst_parser", "furo"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            skip_or_fail("XLENET_REQUIRE_PARTNERS", "sphinx", f"the extra docs is not installed ({error})")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "trees")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(DOCS), str(out / "html")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return out / "html"


def html_of(site: Path, page: Path) -> str:
    return (site / page.relative_to(DOCS).with_suffix(".html")).read_text(encoding="utf-8")


def test_the_navigation_reaches_every_page(site: Path) -> None:
    sidebar = re.search(r'<div class="sidebar-tree">(.*?)</aside>', html_of(site, DOCS / "index.md"), re.DOTALL)
    assert sidebar is not None
    reached = {target.partition("#")[0] for target in re.findall(r'href="([^"]+)"', sidebar[1])}
    wanted = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in PAGES} - {"index.html"}
    assert wanted - reached == set()


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    address = re.compile(r'(?:href|src)="(?!https?:|mailto:|#|data:|javascript:)([^"#?]+)')
    targets = [(page, to) for page in site.rglob("*.html") for to in address.findall(page.read_text(encoding="utf-8"))]
    assert len(targets) > 1000  # the pattern still finds them
    dead = [f"{page.relative_to(site)}: {to}" for page, to in targets if not (page.parent / to).exists()]
    assert dead == []


def test_formulas_are_formulas(site: Path) -> None:
    """No dollar is left where mathematics was meant, and the script that sets it is asked for."""
    for page in sorted((DOCS / "layers").glob("*.md")):
        html = html_of(site, page)
        without_code = re.sub(r"<pre>.*?</pre>|<script.*?</script>|<code.*?</code>", "", html, flags=re.DOTALL)
        assert "$" not in without_code, page.name
        assert 'class="math' in html, page.name
        assert re.search(r"<script[^>]+mathjax", html), page.name


def test_every_public_name_is_in_the_api_reference(site: Path) -> None:
    assert public_names() - documented(site) == set()


def test_the_page_on_the_architecture_has_every_module() -> None:
    """On its floor: the table of the page is the one that is enforced."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.*?) \|", text, re.MULTILINE)
    found = {name: int(number) for number, cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert found == FLOORS


def documented(site: Path) -> set[str]:
    """The full names of what the site describes, from the index that Sphinx leaves for other sites."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]  # behind four lines of comment
    lines = zlib.decompress(packed).decode("utf-8").splitlines()
    return {line.split(" ")[0] for line in lines if line.split(" ")[1].startswith("py:")}


def public_names() -> set[str]:
    """The public names that a reference must have, each under one of the modules that give it."""
    wanted = set()
    for module in map(importlib.import_module, MODULES):
        listed = getattr(module, "__all__", None)
        for name in listed if listed is not None else own_names(module):
            thing = getattr(module, name)
            if not isinstance(thing, ModuleType):
                wanted.add((id(thing), name, module.__name__))
    at_the_top = {(number, name) for number, name, module in wanted if module == "xlenet"}
    found = {f"xlenet.{name}" for _, name in at_the_top}
    found |= {f"{module}.{name}" for number, name, module in wanted if (number, name) not in at_the_top}
    for info in pkgutil.iter_modules(xlenet.functional.__path__):
        module = importlib.import_module(f"xlenet.functional.{info.name}")
        found |= {f"{module.__name__}.{n}" for n in own_names(module) if re.match("(forward|backward|infer)(_|$)", n)}
    return {SHOWN_AS.get(name, name) for name in found} - FOR_OTHER_MODULES


def own_names(module: ModuleType) -> set[str]:
    """The public functions and classes that are written in `module`."""
    return {
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    }


def test_the_walk_over_public_names_finds_what_is_there() -> None:
    names = public_names()
    assert {"xlenet.Conv2D", "xlenet.functional.img2col", "xlenet.training.fit", "xlenet.errors.DataError"} <= names
    assert {"xlenet.functional.batchnorm.backward_training", "xlenet.functional.conv_pool.infer"} <= names


def test_every_layer_and_loss_has_its_mathematics() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "layers").glob("*.md"))
    exempt = {"Layer"}  # computes nothing
    layers = {name for name in xlenet.layers.__all__ if name not in exempt} | {"SoftmaxCrossEntropy", "NLLLoss"}
    assert {name for name in layers if f"`{name}" not in text} == set()


def test_the_picture_is_what_its_script_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_partner("matplotlib", "matplotlib")
    drawing = importlib.import_module("docs.draw_img2col")
    monkeypatch.setattr(drawing, "PATH", tmp_path / "img2col.png")
    monkeypatch.setattr(drawing, "_ROOT", tmp_path)
    assert drawing.main() == 0
    drawn, kept = (tmp_path / "img2col.png").read_bytes(), (DOCS / "images" / "img2col.png").read_bytes()
    assert drawn[:24] == kept[:24]  # a PNG of the same size; fonts may differ from one Matplotlib to the next
