"""The faults of the break-it lab: those of ``tests/mutations.py`` that a student can find in the reference file.

This table adds what a student needs afterwards. What is changed stands in ``tests/mutations.py`` alone. To add a fault,
write it there, name the tests that catch it, and add a case below: ``tests/test_break_it.py`` says if its symptoms differ.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the clone's own package, and its table of faults

from tests.mutations import FAULTS  # noqa: E402

REFERENCE = ROOT / "compressae_ref" / "reference.py"
BY_NAME = {fault.what: fault for fault in FAULTS}


class Case(NamedTuple):
    """A fault of the lab."""

    what: str
    """its name in `tests.mutations`"""
    level: int
    """1 easy to 3 hard"""
    equation: str
    seen: tuple[str, ...]
    """names of `symptoms.NAMES` that differ; empty if only the test vectors see it"""
    why: str

    @property
    def line(self) -> int:
        """Return the number of the line that is changed, from 1."""
        text = sound()
        return text.count("\n", 0, text.index(BY_NAME[self.what].old)) + 1

    @property
    def function(self) -> str:
        """Return the name of the function that is changed."""
        return functions()[self.line]

    @property
    def tests(self) -> str:
        """Return the tests of the suite that catch it, as arguments of pytest."""
        return f"tests/{BY_NAME[self.what].tests}"

    def planted(self) -> str:
        """Return the reference file with the fault."""
        fault = BY_NAME[self.what]
        return sound().replace(fault.old, fault.new)


@cache
def sound() -> str:
    """Return the reference file as it is."""
    return REFERENCE.read_text(encoding="utf-8")


@cache
def functions() -> dict[int, str]:
    """Return the name of the function that each line of the reference file belongs to; other lines are left out."""
    nodes = [node for node in ast.parse(sound()).body if isinstance(node, ast.FunctionDef)]
    return {line: node.name for node in nodes for line in range(node.lineno, (node.end_lineno or 0) + 1)}


CASES = [
    Case("reference: steps go uphill", 1, "E11", ("loss", "cosine", "recall"),
         "The loss is 1 − cosine. It rises towards 2 because every step climbs: the reconstructions point away from their rows. "
         "Finite differences still agree, so the gradients are right and the step is wrong. Search in sparse space even keeps "
         "its recall: a code and its opposite have the same nearest codes."),
    Case("reference: an atom takes the place of the one before", 1, "E7", ("loss", "cosine", "recall", "gradients"),
         "A reconstruction is one atom instead of a sum of k. The gradients are those of the sum, so they disagree with finite "
         "differences. One atom is only as near as the best axis, so the cosine stops at about half."),
    Case("reference: values lose their sign", 1, "E5", ("loss", "cosine", "recall", "gradients"),
         "A latent with a = −0.5 is stored as +0.5, so decoding adds its atom where it should subtract it. The backward pass takes "
         "∂v/∂a as +1, which is wrong for every negative entry. So slopes disagree as well."),
    Case("reference: the gradient of the norm is left out", 1, "E9'", ("loss", "cosine", "recall", "gradients"),
         "Without its second term, the gradient says that a longer x̂ helps. A cosine does not depend on length, so the true gradient "
         "is orthogonal to x̂. Training chases length, and the loss rises again."),
    Case("reference: atoms are made unit rows in a copy", 2, "E12", ("atoms",),
         "W_dec = … binds a local name to a new array. The caller's array keeps its lengths. Unit atoms need an operation in place, "
         "such as /=. The loss is a little worse; only the norms say why. A value no longer says how much of an atom a row has."),
    Case("reference: a value meets the latent of its neighbour", 2, "E10", ("recall",),
         "Entry t takes the latent of entry t − 1, and entry 0 takes that of the last: in Python, index −1 is no error. Training does "
         "not search, so its curves are untouched. All spaces lose their recall at once, so the fault is in what they share."),
    Case("reference: k_aux is k", 2, "R5", ("loss",),
         "The rest has k_aux − k = 0 entries, so x̂_aux = x̂_k. That is why the dashes lie on the line. The auxiliary loss then only "
         "scales the gradient, which Adam undoes. Latents outside the k largest get no gradient any more."),
    Case("reference: the first moment is not corrected", 2, "E11", ("loss", "cosine"),
         "m starts at 0, so after the first step it is 0.1 g. Without the division by 1 − β₁ᵗ the first steps are a tenth of their "
         "length. After about 40 steps the divisor is 1 within 2 %, and the curves meet."),
    Case("reference: the bias is left out", 2, "E4", ("gradients",),
         "The loss no longer depends on b_enc, so its finite differences are 0. The backward pass still computes a gradient for it: "
         "a third of the crosses lie on a horizontal line. A bias matters so little here that training looks as good."),
    Case("reference: the auxiliary gradient misses the codes", 2, "E13'", ("gradients",),
         "x̂_aux = x̂_k + the rest, so x̂_k gets two gradients: from its own loss, and as a term of x̂_aux. One is lost. It has the weight "
         "1/8, so slopes are off by little, and training does not show it."),
    Case("reference: the loss is a sum over the batch", 2, "E13'", ("gradients",),
         "All gradients are n times too large: the crosses lie on a line with another slope. Adam divides by the root of the squares, so "
         "the factor cancels, and training looks the same. With plain gradient descent it would explode."),
    Case("reference: the largest values are kept", 2, "R1", ("dead",),
         "The abs of abs-top-k is gone, so large negative entries are dropped. Training adapts. A latent can no longer serve two "
         "opposite directions, so more latents stay in use. Loss and cosine look as good: only the dead latents and the vectors "
         "tell that this is another method."),
    Case("reference: ties go to the higher index", 2, "R1", (),
         "Among real numbers equal magnitudes are rare, so nothing differs on this data. A tie decides which index is stored. Two "
         "implementations that disagree on it store different codes for one row, for example for integer embeddings."),
    Case("reference: the norm of the query is left out", 2, "E15", (),
         "All scores of one query are multiplied by one number, so the order of the items stays the same and recall cannot see it. "
         "Scores of different queries can no longer be compared, and a threshold on a cosine is wrong."),
    Case("reference: the parentheses of a divisor are lost", 3, "E9'", ("dead", "gradients"),
         "a / b * c is (a / b) · c, so the two norms cancel. The second term has the right direction and the wrong length. Where ‖x̂‖ "
         "is 1 it is even right. So training works nearly as well, and only more latents die."),
    Case("reference: ε inside the root", 3, "R8", (),
         "√(v + ε) with ε = 1e-8 is at least 1e-4, while √v + ε is at least 1e-8. Only parameters with gradients near 1e-4 or "
         "below move less. Here few are, so the curves agree within chance."),
    Case("the clamp of norms is gone", 3, "R6", (),
         "A code of zeros has a reconstruction of zeros, and 0 / 0 is NaN. NaN compares false with everything, so such an item "
         "stands anywhere in a result. No row of this data has a code of zeros."),
    Case("the gradient of a clamped norm is kept", 3, "E9'", (),
         "If ‖x̂‖ is below 1e-8, the clamp replaces it by a constant, and the second term of E9' is the derivative of that norm: 0. The "
         "fault shows only where a reconstruction is almost zero, which training does not reach here."),
    Case("rows are not scaled before the norm", 3, "E3", (),
         "The square of 1e20 overflows float32, and the square of 1e-30 vanishes. Scaling by a power of two first is exact and "
         "prevents both. Embeddings near unit length never get there, so no curve shows it."),
    Case("the fold adds neighbours", 3, "E1", (),
         "A sum of the same terms in another order is rounded differently: the last bits change and nothing else. All results are good "
         "to seven digits. But codes of two machines can no longer be compared byte for byte, which is what E1 is for."),
]  # fmt: skip
"""In the order of their numbers, which start at 1."""
