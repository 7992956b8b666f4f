"""How many heads fit: the compiler's account, what is free, and the answer that is given."""

from types import SimpleNamespace

import jax
import pytest

from sampath_jax.errors import InputError
from sampath_jax.training import free_memory, memory
from sampath_jax.training.free_memory import host_free_bytes
from sampath_jax.training.sweep_step import SweepPrograms
from tests.training.sweeping import programs, step_of_one

pytestmark = pytest.mark.optim

GB = 10**9


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_every_head_needs_its_state_and_no_more():
    step, state = step_of_one(), bytes_of(programs().state)
    assert state == pytest.approx(4 * bytes_of(programs().head), rel=1e-4)  # moments, gradients of the window
    assert step.memory_analysis().alias_size_in_bytes == pytest.approx(state, rel=1e-4)
    need = memory.needed(programs(), step)
    assert need.of(9) - need.of(8) == state
    plan = step.memory_analysis()
    working = plan.temp_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    assert need.fixed >= bytes_of(programs().frozen) + working


@pytest.fixture
def account(monkeypatch):
    """A step that needs 1 GB for every head that steps at the same time."""

    def step(self, together, stacked):
        return SimpleNamespace(
            together=together,
            stacked=stacked,
            memory_analysis=lambda: SimpleNamespace(
                temp_size_in_bytes=together * GB, output_size_in_bytes=0, alias_size_in_bytes=0
            ),
        )

    monkeypatch.setattr(SweepPrograms, "step", step)
    return programs()


def offer(monkeypatch, usable):
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: int(usable / memory.USABLE) + 1)


def test_the_number_that_would_fit_does_and_one_more_does_not(account, monkeypatch):
    need = memory.needed(account, account.step(1, stacked=False))
    offer(monkeypatch, need.of(5))
    memory.plan_groups(account, 5)
    for heads in (6, 200):
        with pytest.raises(InputError, match="5 heads would fit"):
            memory.plan_groups(account, heads)
    offer(monkeypatch, need.fixed / 2)
    with pytest.raises(InputError, match="0 heads would fit"):
        memory.plan_groups(account, 1)


def test_on_accelerators_as_many_step_together_as_fit(account, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert memory.group_sizes(6) == [6, 3, 2, 1]
    for usable, together in ((6.9 * GB, 6), (5.9 * GB, 3), (2.9 * GB, 2), (1.9 * GB, 1)):
        offer(monkeypatch, usable + bytes_of(account.state) * 6)
        chosen, step = memory.plan_groups(account, 6)
        assert (chosen, step.together, step.stacked) == (together, together, together > 1)
    monkeypatch.setattr(free_memory, "free_bytes", lambda device: None)
    assert memory.plan_groups(account, 6)[0] == 6


MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"
FREE = 8000 * 1024


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, FREE),
        # version 2: the limit of an outer group counts too, files that can be dropped do not
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                f"{V2}/job/step/memory.max": "max\n",
                f"{V2}/job/step/memory.current": "3000000\n",
                f"{V2}/job/memory.max": "5000000\n",
                f"{V2}/job/memory.current": "3000000\n",
                f"{V2}/job/memory.stat": "anon 1\ninactive_file 500000\n",
            },
            2_500_000,
        ),
        # version 1 in a container, where only the own group is mounted
        (
            {
                "proc/self/cgroup": "5:cpu:/pod\n4:memory:/pod\n0::/\n",
                f"{V1}/memory.limit_in_bytes": "4000000\n",
                f"{V1}/memory.usage_in_bytes": "1000000\n",
            },
            3_000_000,
        ),
        # without a limit, version 1 writes a number beyond all memory
        (
            {
                "proc/self/cgroup": "4:memory:/\n",
                f"{V1}/memory.limit_in_bytes": "9223372036854771712\n",
                f"{V1}/memory.usage_in_bytes": "1000000\n",
            },
            FREE,
        ),
    ],
)
def test_a_control_group_limits_what_is_free(files, free, tmp_path):
    assert host_free_bytes(write(tmp_path, {"proc/meminfo": MEMINFO, **files})) == free


def test_where_nobody_tells_nothing_is_known(tmp_path):
    assert host_free_bytes(tmp_path) is None
