"""Sphinx configuration; builds without network."""

import ctrain

project = "ctrain"
author = "The ctrain developers"
copyright = "2026, The ctrain developers"
release = version = ctrain.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_build"]
autosummary_generate = True
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = f"ctrain {release}"
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
