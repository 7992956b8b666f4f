"""One run with its report, for all tests that only look at it."""

import pytest

from sampath_jax import report
from tests.reporting import made


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    run = made.make_run(tmp_path_factory.mktemp("report"))
    assert report.main(["--workdir", str(run)]) == 0
    return run
