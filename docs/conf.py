"""Configuration of the documentation site: ``make -C docs html``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import sktransfer

project = "sktransfer"
author = "sktransfer developers"
project_copyright = "2026, sktransfer developers"
version = release = sktransfer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "examples"]
templates_path = ["_templates"]
nitpicky = False
# `name` in docstrings is a link to the name, where the site has it.
default_role = "py:obj"

autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "inherited-members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_heading_anchors = 3
# Links to files of the repository, which are not part of the site.
suppress_warnings = ["myst.xref_missing", "config.cache"]

# Fits and plots in the examples say where they were made; nothing is fetched.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "within_subsection_order": "FileNameSortKey",
    "image_srcset": ["2x"],
    "matplotlib_animations": False,
    "default_thumb_file": None,
}

html_theme = "pydata_sphinx_theme"
html_title = "sktransfer"
html_theme_options = {
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_sidebars = {"changelog": [], "index": []}
html_show_sourcelink = False


def changelog(app: Any, docname: str, content: list[str]) -> None:
    """Read the changelog, which lies beside the folder, as a page."""
    if docname == "changelog":
        content[0] = (Path(app.srcdir).parent / "CHANGELOG.md").read_text("utf-8")


def guide(_app: Any, docname: str, content: list[str]) -> None:
    """List the pages that the user guide links to in its sidebar, in their order."""
    if docname == "user_guide":
        pages = dict.fromkeys(re.findall(r"\]\((guide/\w+)\.md", content[0]))
        content[0] += "\n".join(["\n```{toctree}", ":hidden:", "", *pages, "```\n"])


def setup(app: Any) -> None:
    """Connect what pages get beside their files."""
    app.connect("source-read", changelog)
    app.connect("source-read", guide)
