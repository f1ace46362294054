"""QEMU command lines taken apart: forms that mean the same are the same, and what is none is told.

Source: QEMU util/keyval.c, qemu-options.hx; /proc/PID/cmdline, proc_pid_cmdline(5).
"""

import json
import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabUsageError
from lab.preflight.command import FLAGS, Command, Option, read
from lab.preflight.words import properties, size_bytes
from lab.qemu.state import monitor_paths

NAMES = st.text(string.ascii_lowercase + "-", min_size=1, max_size=8).filter(lambda name: name != "no")
VALUES = st.text(string.ascii_letters + string.digits + " ,=/.:-", max_size=12)
PROPERTIES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"), max_size=9
)
ARGUMENTS = st.lists(
    st.sampled_from(["-m", "-device", "--object", "-S", "-nodefaults", "-enable-kvm"]).flatmap(
        lambda flag: st.just([flag]) if flag.lstrip("-") in FLAGS else VALUES.map(lambda value: [flag, value])
    )
)


@given(PROPERTIES)
def test_pairs_are_read_as_they_are_written(known: dict[str, str]) -> None:
    """A comma in a value is doubled."""
    text = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in known.items())
    assert properties(text) == known


@given(PROPERTIES)
def test_json_says_the_same_as_pairs(known: dict[str, str]) -> None:
    assert properties(json.dumps(known)) == known


def test_the_forms_of_one_option() -> None:
    forms = ["virtio-rng-pci,id=r,addr=0x4,x", "driver=virtio-rng-pci,id=r,addr=0x4,x=on"]
    forms.append('{"driver":"virtio-rng-pci","id":"r","addr":"0x4","x":true}')
    assert {tuple(sorted(Option("device", form).properties.items())) for form in forms} == {
        (("addr", "0x4"), ("driver", "virtio-rng-pci"), ("id", "r"), ("x", "on"))
    }
    assert properties('{"a":{"b":[{"c":1}]}}') == {"a.b.0.c": "1"}
    assert properties("unix:/x,server,nowait") == {"unix:/x": "on", "server": "on", "wait": "off"}


@given(WORDS)
def test_no_text_breaks_it(text: str) -> None:
    """What begins like JSON and is none is an error of the caller; everything else is read."""
    try:
        assert isinstance(properties(text, "first"), dict)
    except LabUsageError:
        assert text.startswith("{")


@given(ARGUMENTS)
def test_every_word_is_in_one_option(arguments: list[list[str]]) -> None:
    command = Command.parse(["qemu-system-x86_64", *(word for words in arguments for word in words)])
    assert [(option.name, option.value) for option in command.options] == [
        (words[0].lstrip("-"), words[1] if len(words) > 1 else "") for words in arguments
    ]


@given(st.lists(WORDS.filter(bool), min_size=1, max_size=6))
def test_proc_cmdline_is_read_as_it_is(words: list[str]) -> None:
    assert read("".join(f"{word}\0" for word in words).encode()) == words


@given(st.lists(WORDS.filter(bool), min_size=2, max_size=6))
def test_a_line_for_a_shell_is_read_as_a_shell_does(words: list[str]) -> None:
    assert read(shlex.join(words).encode()) == words


@pytest.mark.parametrize(
    "text",
    [
        "qemu-kvm\n-m\n512M\n-append\na b\n",
        "qemu-kvm -m 512M -append 'a b'",
        "qemu-kvm -m 512M \\\n  -append 'a b'\n",
        "qemu-kvm\n-m 512M\n-append 'a b'\n",
        "qemu-kvm\0-m\x00512M\0-append\0a b\0",
    ],
    ids=["a word a line", "one line", "continued", "an option a line", "NUL"],
)
def test_a_file_may_have_any_of_these_forms(text: str) -> None:
    assert read(text.encode()) == ["qemu-kvm", "-m", "512M", "-append", "a b"]


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"", "empty"), (b"\n \n", "empty"), (b"\xff\xfe", "no text"), (b"qemu 'x", "no line for a shell")],
)
def test_what_is_no_command_line_is_told(data: bytes, says: str) -> None:
    with pytest.raises(LabUsageError, match=says):
        read(data)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["-m", "1G"], "begins with '-m'"), (["qemu", "-m"], "-m, lacks its value"), ([], "empty")],
)
def test_what_cannot_be_taken_apart_is_told(words: list[str], says: str) -> None:
    with pytest.raises(LabUsageError, match=says):
        Command.parse(words)


@pytest.mark.parametrize(
    ("words", "through", "program"),
    [
        ("/usr/bin/qemu-system-x86_64 -S", (), "/usr/bin/qemu-system-x86_64"),
        ("kvm -S", (), "kvm"),
        ("/opt/my-vmm -S", (), "/opt/my-vmm"),
        ("env -i qemu-system-x86_64 -S", ("env", "-i"), "qemu-system-x86_64"),
        ("runuser -u qemu -- qemu-system-x86_64 -S", ("runuser", "-u", "qemu", "--"), "qemu-system-x86_64"),
        ("A=b /x/qemu -S", ("A=b",), "/x/qemu"),
        ("python3 late.py late qemu-system-x86_64", ("python3", "late.py", "late"), "qemu-system-x86_64"),
        ("/opt/start guest1", ("/opt/start", "guest1"), ""),
        ("env -i", ("env", "-i"), ""),
    ],
)
def test_what_qemu_is_started_through(words: str, through: tuple[str, ...], program: str) -> None:
    command = Command.parse(words.split())
    assert (command.through, command.program) == (through, program)


@pytest.mark.parametrize(
    ("words", "accelerator"),
    [
        ("qemu-system-x86_64", "tcg"),
        ("qemu-kvm", "kvm"),
        ("kvm -accel tcg", "tcg"),
        ("qemu-system-x86_64 -enable-kvm", "kvm"),
        ("qemu-system-x86_64 -machine q35,accel=kvm:tcg", "kvm"),
        ("qemu-system-x86_64 -accel kvm -accel tcg", "kvm"),
    ],
)
def test_the_accelerator(words: str, accelerator: str) -> None:
    assert Command.parse(words.split()).accelerator == accelerator


@pytest.mark.parametrize(
    ("text", "unit", "size"),
    [
        ("512", "M", 512 << 20),
        ("1G", "M", 1 << 30),
        ("4096", "B", 4096),
        ("1.5k", "B", 1536),
        ("x", "B", None),
    ],
)
def test_sizes(text: str, unit: str, size: int | None) -> None:
    assert size_bytes(text, unit) == size


def test_where_qmp_is() -> None:
    words = "-qmp unix:/a.sock,server=on,wait=off -qmp tcp:localhost:4444 -chardev socket,id=m,path=/b.sock"
    command = Command.parse(["qemu", *words.split(), "-mon", "chardev=m,mode=control"])
    assert list(monitor_paths(command)) == ["/a.sock", "/b.sock"]
