import argparse
import collections
import datetime
import enum
import io
import os
import pathlib
import pickle
import subprocess

import pytest
from box import Box, BoxList

from convert import inert_pickle
from convert.inert_pickle import Foreign, Global, RefusedPickleError
from sampath_jax.errors import InputError

SHARED_LIST = [1, 2]
PLAIN = {
    "numbers": [0, 1, -1, 255, 256, 65536, 2**31, -(2**40), 2**2000, 1.5, -0.0],
    "text": ["", "abc", "ü\n", "x" * 300],
    "bytes": [b"", b"abc", b"y" * 300],
    "constants": (None, True, False),
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "twice": [SHARED_LIST, SHARED_LIST],
    3: {"nested": {"dict": {}}},
}


def load(data, **how):
    return inert_pickle.load(io.BytesIO(data), **how)


class Command:
    """Pickles as the call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Stage(enum.Enum):
    FIRST = 1


class Settings:
    def __init__(self):
        self.rate = 0.1


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_python_reads_them(protocol):
    # Protocols 0 to 2 have no bytes of their own and call a codec; that call stays inert.
    value = {key: part for key, part in PLAIN.items() if key != "bytes" or protocol >= 3}
    read = load(pickle.dumps(value, protocol))
    assert read == value
    assert read["twice"][0] is read["twice"][1]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "in a list", "in an attribute", "as a key"])
def test_calls_that_execute_are_refused_and_not_executed(tmp_path, protocol, place):
    planted = tmp_path / "planted"
    attack = Command(os.system, f"touch {planted}")
    holder = Settings()
    holder.rate = attack
    value = {"alone": attack, "in a list": [1, attack], "in an attribute": holder, "as a key": {attack: 1}}[
        place
    ]
    data = pickle.dumps(value, protocol)
    with pytest.raises(RefusedPickleError, match=r"posix\.system.*nothing was executed"):
        load(data)
    assert not planted.exists()
    pickle.loads(data)  # it would have worked
    assert planted.exists()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (eval, ("1",)),
        (exec, ("pass",)),
        (getattr, ("a", "upper")),
        (__import__, ("os",)),
        (open, ("/dev/null",)),
        (subprocess.Popen, (["true"],)),
        (pickle.loads, (b"N.",)),
        (os.path.join, ("a", "b")),
    ],
)
def test_functions_of_the_standard_library_are_refused(function, arguments):
    with pytest.raises(InputError, match=function.__name__):
        load(pickle.dumps(Command(function, *arguments), 2))


@pytest.mark.parametrize(
    "opcodes", [b"cevil\nrun\n)R.", b"(ievil\nrun\n.", b"(cevil\nrun\no.", b"cevil\nrun\n)\x81."]
)
def test_functions_of_packages_are_refused_however_they_are_called(opcodes):
    with pytest.raises(RefusedPickleError, match=r"evil\.run"):
        load(opcodes)


@pytest.mark.parametrize("protocol", [2, 4])
def test_foreign_objects_stay_inert(protocol):
    value = {
        "path": pathlib.PurePosixPath("a/b"),
        "time": datetime.timedelta(1),
        "stage": Stage.FIRST,
        "counts": collections.defaultdict(list, a=[1]),
        "kind": Settings,
        "function": len,
    }
    read = load(pickle.dumps(value, protocol))
    assert read["kind"] == Global(__name__, "Settings")
    assert read["function"] == Global("builtins", "len")
    assert read["stage"].arguments == (1,)
    assert read["counts"].items == {"a": [1]}
    assert {type(read[name]) for name in ("path", "time", "stage", "counts")} == {Foreign}


def test_what_foreign_objects_hold_can_be_looked_at():
    value = Box({"model": {"no_sam": True}, "steps": BoxList([1800, 2088])})
    value["args"] = argparse.Namespace(arch="vit_small")
    read = load(pickle.dumps(dict(value), 2))
    assert read["model"].items == {"no_sam": True}
    assert str(read["model"].kind) == "box.box.Box"
    assert read["steps"].state["items"] == [1800, 2088]
    assert read["args"].state == {"arch": "vit_small"}


def test_classes_that_do_not_exist_here_are_no_hindrance():
    read = load(b"\x80\x02cnowhere.at_all\nThing\n)\x81}X\x01\x00\x00\x00aK\x05sb.")
    assert read.kind == Global("nowhere.at_all", "Thing")
    assert read.state == {"a": 5}


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_every_cut_is_noticed(protocol):
    data = pickle.dumps({"a": [1, 2.0, "three", (4,)], "b": None}, protocol)
    for length in range(len(data)):
        with pytest.raises(ValueError):  # noqa: PT011 - the reason differs from cut to cut
            load(data[:length])


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02u.",
        b"\x80\x02K\x01h\x05.",
        b"\x80\x02K\x01K\x02.",
        b"\x80\x02t.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02\x82\x01.",
    ],
    ids=["no mark", "no memo", "two values left", "empty stack", "unhashable key", "extension"],
)
def test_nonsense_is_not_a_pickle(opcodes):
    with pytest.raises(ValueError):  # noqa: PT011
        load(opcodes)
