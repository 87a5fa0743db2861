"""The linear algebra libraries behind NumPy and SciPy, each with threads of its own.

Holds the one handle by which models keep them to one thread: sums must not depend on the number of threads, and their threads fight
with ours. It is looked up once, when both libraries are loaded: `threadpool_limits` looks them up at every call, which takes
milliseconds, more than many a small solution. A limit set inside another one leaves the outer one as it was.
"""

import scipy.linalg  # noqa: F401 loads SciPy's own library, which is another one than NumPy's
from threadpoolctl import ThreadpoolController

BLAS = ThreadpoolController().select(user_api="blas")
