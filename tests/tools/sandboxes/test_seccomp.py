import errno
import struct

import pytest

from agentrl.errors import UserError
from agentrl.tools.sandboxes.seccomp import REFUSED, program

ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine, number, argument=0, arch=None):
    """Run the filter as the kernel does."""
    data = struct.pack("=IIQQ", number, arch or ARCH[machine], 0, argument)
    code = list(struct.iter_unpack("=HBBI", program(machine)))
    at = value = 0
    while True:
        operation, yes, no, k = code[at]
        at += 1
        if operation == 0x06:
            return k
        if operation == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[operation]
            at += yes if holds else no


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_what_is_listed_is_refused_and_the_rest_is_not(machine, column):
    refused = {numbers[column] for numbers in REFUSED.values()} - {-1}
    clone, clone3 = (56, 220)[column], 435
    for number in range(600):
        expected = ERROR | errno.EPERM if number in refused else ERROR | errno.ENOSYS if number == clone3 else ALLOW
        assert verdict(machine, number) == expected, number
    assert verdict(machine, clone, 0x10000000 | 17) == ERROR | errno.EPERM  # a user namespace
    assert verdict(machine, clone, 0x003D0F00) == ALLOW  # a thread


def test_another_set_of_numbers_is_no_way_around():
    assert verdict("x86_64", 101, arch=0x40000003) == KILL  # 32-bit calls
    assert verdict("x86_64", 0x40000000 | 521) == ERROR | errno.ENOSYS  # x32


def test_numbers_are_used_once():
    for column in (0, 1):
        numbers = [n[column] for n in REFUSED.values() if n[column] != -1]
        assert len(numbers) == len(set(numbers))


def test_an_unknown_machine_is_refused():
    with pytest.raises(UserError, match="riscv64"):
        program("riscv64")
