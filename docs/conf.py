"""How Sphinx builds the documentation. Nothing is fetched, neither while building nor while reading."""

from __future__ import annotations

import importlib.metadata

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from unrolled.cells import BUILTIN, as_latex, find_cell

project = "unrolled"
author = "The unrolled authors"
copyright = f"2026, {author}"
release = version = importlib.metadata.version("unrolled")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
nitpicky = False
default_role = "code"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"unrolled {version}"
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False

_logger = logging.getLogger(__name__)


def _mathml(node: nodes.Element, as_block: bool) -> str:
    """The formula of `node` as MathML, which every browser draws by itself; what cannot be read is a warning."""
    try:
        return str(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        _logger.warning("this formula cannot be read: %s", error, location=node)
        return "<code></code>"


def _visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_mathml(node, as_block=True) + "</div>\n")
    raise nodes.SkipNode


class BuiltInCells(SphinxDirective):
    """A section for each built-in cell: what its file says of it, and its equations, printed as the page is built."""

    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for name in BUILTIN:
            equations = find_cell(name)
            section = nodes.section("", nodes.title("", "", nodes.literal("", name)), ids=[f"cell-{name}"])
            section += [nodes.paragraph("", paragraph) for paragraph in equations.doc.split("\n\n")]
            formula = as_latex(equations)
            section += nodes.math_block(formula, formula, docname=self.env.docname, number=None, label=None)
            self.set_source_info(section)
            sections.append(section)
        return sections


def setup(app: Sphinx) -> None:
    app.add_directive("built-in-cells", BuiltInCells)
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math_block, None))
