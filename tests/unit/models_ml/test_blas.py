import sys
from subprocess import run


def test_the_handle_reaches_every_library_of_linear_algebra_that_is_loaded():
    """In a process of its own: what is loaded when the handle is made is what counts."""
    script = """
from models_ml.blas import BLAS
import models_ml.fold_in, models_ml.retrieval, sklearn.linear_model
from threadpoolctl import ThreadpoolController
libraries = {one.filepath for one in ThreadpoolController().select(user_api="blas").lib_controllers}
assert libraries == {one.filepath for one in BLAS.lib_controllers}, libraries
with BLAS.limit(limits=1):
    assert {one.num_threads for one in ThreadpoolController().select(user_api="blas").lib_controllers} == {1}
"""
    done = run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
