"""The directive ``operations``: the operation table as a page, family by family."""

from __future__ import annotations

from sphinx.util.docutils import SphinxDirective

from ctrain._core.ops import OPS, Op

TITLES = {
    "elementwise": "Element by element",
    "linear": "Linear",
    "recurrent": "Recurrent",
    "convolution": "Over time",
    "attention": "Attention",
    "normalization": "Normalisation",
    "reduce": "Along axes of the row",
    "shape": "Moving values",
    "random": "Random",
    "batch": "Over the batch",
    "loss": "Losses",
}


def notes(op: Op) -> list[str]:
    """What the table says beyond the docstring."""
    said = []
    if op.broadcasts:
        said.append("The inputs are broadcast to one shape, by NumPy's rules.")
    if op.weights:
        names = " and ".join(f"``{op.inputs[i]}``" for i in op.weights)
        said.append(f"{names} must be parameters, constants or made of them.")
    if op.differentiable == ():
        said.append("It has no gradient.")
    elif op.differentiable is not None:
        names = " and ".join(f"``{op.inputs[i]}``" for i in op.differentiable)
        said.append(f"Only {names} get a gradient.")
    return said


def page() -> list[str]:
    """Lines of reStructuredText: a section for each family, an entry for each operation."""
    unknown = {op.family for op in OPS.values()} - set(TITLES)
    if unknown:
        raise KeyError(f"docs/_ext/operations.py has no title for the families {sorted(unknown)}")
    lines = []
    for family, title in TITLES.items():
        lines += [title, "-" * len(title), ""]
        for op in OPS.values():
            if op.family == family:
                lines += [f".. automethod:: ctrain.Tape.{op.name}", ""]
                lines += [f"   {' '.join(notes(op))}", ""]
    return lines


class Operations(SphinxDirective):
    """Everything that the table says of every operation."""

    def run(self):
        return self.parse_text_to_nodes("\n".join(page()), allow_section_headings=True)


def setup(app):
    """Register the directive."""
    app.add_directive("operations", Operations)
    return {"parallel_read_safe": True}
