"""Sphinx configuration; builds without network."""

import sys
from pathlib import Path

import ctrain
from ctrain._core.ops import OPS

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "ctrain"
author = "The ctrain developers"
copyright = "2026, The ctrain developers"
release = version = ctrain.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "operations",
]
exclude_patterns = ["_build", "_templates", "_ext"]
templates_path = ["_templates"]
autosummary_generate = True
autosummary_context = {"operations": ", ".join(OPS)}  # have a page of their own
autodoc_default_options = {
    # made by scikit-learn, whose pages document them
    "exclude-members": "set_fit_request, set_partial_fit_request, set_predict_request, "
    "set_score_request",
}
numpydoc_show_class_members = False  # the template lists them, with their docstrings
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"ctrain {release}"
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
