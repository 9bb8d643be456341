"""How the site is built: `python -m sphinx -W -b html docs docs/_build/html`. Nothing is fetched, no kernel is compiled, no notebook is run."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # asyncnet of this checkout, and the folder of our extension

import asyncnet  # noqa: E402

project = "asyncnet"
author = copyright = "asyncnet developers"
release = version = asyncnet.__version__

extensions = ["sphinx.ext.autodoc", "myst_nb", "extension"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in signatures: most are no public names, or other projects', whose inventories would have to be fetched
default_role = "code"  # docstrings have names in single backticks
highlight_language = "text"
smartquotes = False  # -- and quotes are meant

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
nb_execution_mode = "off"  # a test runs it (tests/test_first_notebook.py); the site shows what came out
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"asyncnet {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
