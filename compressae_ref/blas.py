"""How BLAS shares the processor with the kernels: OpenBLAS reads it when NumPy is first imported, so this comes first.

After a product its threads wait for the next one in a busy loop, 2²⁶ cycles long unless told otherwise, on the
processors that the kernels want. With 2⁴ they sleep at once, and training takes half as long. It changes no bit.
Where NumPy was imported before this package, ``OPENBLAS_THREAD_TIMEOUT=4`` in the environment does the same.
"""

import os
import sys

if "numpy" not in sys.modules:
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
