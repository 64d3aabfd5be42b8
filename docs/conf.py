"""How the pages of this folder become a site: ``python -m sphinx -W --keep-going -b html docs docs/_build``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_DOCS = Path(__file__).parent
_ROOT = _DOCS.parent
sys.path.insert(0, str(_ROOT))  # the docstrings of this checkout, installed or not

from xlenet import __version__  # noqa: E402 - after the line above

project, author, copyright = "xlenet", "The xlenet developers", "The xlenet developers"  # noqa: A001 - Sphinx's names
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"xlenet {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"top_of_page_buttons": []}  # where the repository will be is not known here

# Pages are GitHub's Markdown first: mathematics between dollars, and headings that can be linked to.
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

# Docstrings put code between single backticks; a name that is documented somewhere becomes a link to it.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Array": "Array", "Padding": "Padding"}
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Pages whose text is a file of the repository's top level, where people look for it.
_OF_THE_TOP = {"changelog": _ROOT / "CHANGELOG.md", "contributing": _ROOT / "CONTRIBUTING.md"}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)#\s]+)([^)\s]*)\)")


def as_the_site_shows_it(text: str, written_in: Path, page: Path) -> str:
    """Return a page with the links that the site needs: pages are linked to by the repository's paths, from the folder
    in which the text was written. Other files are carried along by MyST; a folder cannot be, and becomes its name.
    """

    def link(found: re.Match[str]) -> str:
        words, path, place = found.groups()
        target = (written_in / path).resolve()
        if target.is_dir() or target == _ROOT / "README.md":
            return words
        target = next((_DOCS / f"{name}.md" for name, file in _OF_THE_TOP.items() if target == file), target)
        return f"[{words}]({os.path.relpath(target, page.parent)}{place})"

    return _LINK.sub(link, text)


def setup(app):  # noqa: D103 - Sphinx's name for it
    def read(app, page, source):
        file = _OF_THE_TOP.get(page, _DOCS / f"{page}.md")
        text = file.read_text(encoding="utf-8") if page in _OF_THE_TOP else source[0]
        source[0] = as_the_site_shows_it(text, file.parent, _DOCS / f"{page}.md")

    def name_arrays(app, what, name, thing, options, signature, returns):
        # Sphinx prints what it puts in the place of an alias, where that is one of several types.
        return tuple(part and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", part) for part in (signature, returns))

    def keep_initials(app, what, name, thing, options, lines):
        # To docutils a line that begins with "Y. LeCun", or says "K.", is an item of a list.
        lines[:] = [re.sub(r"^(\s*(?::param \w+: )?[A-Z])\.(?=\s|$)", r"\1\\.", line) for line in lines]

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", keep_initials, priority=600)  # behind napoleon
    app.connect("autodoc-process-signature", name_arrays)
