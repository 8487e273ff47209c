"""libbpf.so.1 through ctypes: open and load an object, its programs and maps, test-run, and links.

Every function has its argtypes: ctypes would cut pointers to 32 bits. Errors are OSError with what libbpf said last.
"""

from __future__ import annotations

import ctypes as c
import errno
import mmap
import os
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

ARRAY, LPM_TRIE = 2, 11
NO_PREALLOC, MMAPABLE, INNER_MAP = 1, 1 << 10, 1 << 12
XDP = 37  # enum bpf_attach_type
OUT_BYTES = 4096
OWN_CODES = 4000  # libbpf's, of what is no ELF file, or another machine's (LIBBPF_ERRNO__START)
said: deque[str] = deque(maxlen=6)


class TestRunOpts(c.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("data_in", c.c_void_p),
        ("data_out", c.c_void_p),
        ("data_size_in", c.c_uint32),
        ("data_size_out", c.c_uint32),
        ("ctx_in", c.c_void_p),
        ("ctx_out", c.c_void_p),
        ("ctx_size_in", c.c_uint32),
        ("ctx_size_out", c.c_uint32),
        ("retval", c.c_uint32),
        ("repeat", c.c_int),
        ("duration", c.c_uint32),
        ("flags", c.c_uint32),
        ("cpu", c.c_uint32),
        ("batch_size", c.c_uint32),
    )


class MapCreateOpts(c.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c.c_size_t),
        ("btf_fd", c.c_uint32),
        ("btf_key_type_id", c.c_uint32),
        ("btf_value_type_id", c.c_uint32),
        ("btf_vmlinux_value_type_id", c.c_uint32),
        ("inner_map_fd", c.c_uint32),
        ("map_flags", c.c_uint32),
        ("map_extra", c.c_uint64),
        ("numa_node", c.c_uint32),
        ("map_ifindex", c.c_uint32),
    )


Printer = c.CFUNCTYPE(c.c_int, c.c_int, c.c_char_p, c.c_void_p)


@cache
def library() -> c.CDLL:
    """The system's libbpf, its functions declared. OSError where it is not installed."""
    lib = c.CDLL("libbpf.so.1", use_errno=True)
    pointer, number, text = c.c_void_p, c.c_int, c.c_char_p
    for name, result, *arguments in (
        ("bpf_object__open_file", pointer, text, pointer),
        ("bpf_object__load", number, pointer),
        ("bpf_object__close", None, pointer),
        ("bpf_object__find_program_by_name", pointer, pointer, text),
        ("bpf_program__fd", number, pointer),
        ("bpf_object__find_map_by_name", pointer, pointer, text),
        ("bpf_map__fd", number, pointer),
        ("bpf_map__value_size", c.c_uint32, pointer),
        ("bpf_map__max_entries", c.c_uint32, pointer),
        ("bpf_map__key_size", c.c_uint32, pointer),
        ("bpf_map__type", c.c_uint32, pointer),
        ("bpf_map__map_flags", c.c_uint32, pointer),
        ("bpf_map__name", text, pointer),
        ("bpf_map__reuse_fd", number, pointer, number),
        ("bpf_object__next_map", pointer, pointer, pointer),
        ("bpf_map_lookup_elem", number, number, pointer, pointer),
        ("bpf_map_get_fd_by_id", number, c.c_uint32),
        ("bpf_obj_get_info_by_fd", number, number, pointer, pointer),
        ("bpf_link_detach", number, number),
        ("bpf_xdp_query", number, number, number, pointer),
        ("bpf_map_create", number, c.c_uint32, text, c.c_uint32, c.c_uint32, c.c_uint32, pointer),
        ("bpf_map_update_elem", number, number, pointer, pointer, c.c_uint64),
        ("bpf_map_update_batch", number, number, pointer, pointer, pointer, pointer),
        ("bpf_map_delete_elem", number, number, pointer),
        ("bpf_prog_load", number, c.c_uint32, text, text, text, c.c_size_t, pointer),
        ("bpf_prog_test_run_opts", number, number, pointer),
        ("bpf_link_create", number, number, number, c.c_uint32, pointer),
        ("bpf_link_update", number, number, number, pointer),
        ("bpf_tc_hook_create", number, pointer),
        ("bpf_tc_attach", number, pointer, pointer),
        ("bpf_tc_detach", number, pointer, pointer),
        ("bpf_tc_query", number, pointer, pointer),
        ("bpf_tc_hook_create", number, pointer),
        ("bpf_tc_attach", number, pointer, pointer),
        ("bpf_tc_detach", number, pointer, pointer),
        ("bpf_obj_pin", number, number, text),
        ("bpf_obj_get", number, text),
        ("bpf_prog_get_fd_by_id", number, c.c_uint32),
        ("libbpf_set_print", pointer, Printer),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print(_printer)
    return lib


_libc = c.CDLL(None)
_libc.vsnprintf.argtypes = (c.c_char_p, c.c_size_t, c.c_char_p, c.c_void_p)


def _print(_level: int, template: bytes, arguments: int) -> int:
    line = c.create_string_buffer(1 << 16)
    _libc.vsnprintf(line, len(line), template, arguments)
    said.append(line.value.decode("latin-1"))
    return 0


_printer = Printer(_print)


def check(result: int, what: str) -> int:
    """`result` if it is not negative; else OSError with libbpf's last lines."""
    if result >= 0:
        return result
    code = c.get_errno() or -result
    raise OSError(code, f"{what}: {os.strerror(code)}: {''.join(said)[-2000:]}")


def view(fd: int, size_bytes: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """A mmapable array's memory as records; writing to it is writing to the map, without a system call."""
    whole = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(fd, whole, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(memory, dtype=dtype, count=size_bytes // dtype.itemsize)


def create_array(name: str, *, value_bytes: int, entries: int, any_size: bool = False) -> int:
    """The descriptor of a new mmapable array; `any_size`: for an array of arrays that differ in it."""
    options = MapCreateOpts(sz=c.sizeof(MapCreateOpts), map_flags=MMAPABLE | INNER_MAP * any_size)
    return check(library().bpf_map_create(ARRAY, name.encode(), 4, value_bytes, entries, c.byref(options)), name)


def create_trie(name: str, keys: NDArray[np.void], values: NDArray[np.uint32]) -> int:
    """The descriptor of a new LPM trie of these keys (struct bpf_lpm_trie_key) and values."""
    options = MapCreateOpts(sz=c.sizeof(MapCreateOpts), map_flags=NO_PREALLOC)
    entries = c.c_uint32(len(keys))
    made = library().bpf_map_create(LPM_TRIE, name.encode(), keys.itemsize, 4, max(1, len(keys)), c.byref(options))
    fd = check(made, name)
    if len(keys):
        try:
            filled = library().bpf_map_update_batch(fd, keys.ctypes.data, values.ctypes.data, c.byref(entries), None)
            check(filled, f"fill {name}")
        except OSError:
            os.close(fd)
            raise
    return fd


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the kernel made a map as: enum bpf_map_type, sizes in bytes, entries, flags."""

    kind: int
    key_bytes: int
    value_bytes: int
    entries: int
    flags: int


def shape(map_fd: int) -> Shape:
    """The shape of a map in the kernel (struct bpf_map_info)."""
    kind, _, key, value, entries, flags = struct.unpack_from("=6I", info(map_fd))
    return Shape(kind=kind, key_bytes=key, value_bytes=value, entries=entries, flags=flags)


def info(fd: int) -> bytes:
    """What the kernel says of a map, a program or a link: struct bpf_map_info and so on, at most 256 bytes."""
    buffer, size = c.create_string_buffer(256), c.c_uint32(256)
    check(library().bpf_obj_get_info_by_fd(fd, buffer, c.byref(size)), "info")
    return buffer.raw[: size.value]


def inner(map_fd: int, index: int) -> int | None:
    """A new descriptor of the map in a slot of an array of maps; None where it is empty. Needs CAP_SYS_ADMIN."""
    key, value = c.c_uint32(index), c.c_uint32()
    if library().bpf_map_lookup_elem(map_fd, c.byref(key), c.byref(value)) < 0:
        if c.get_errno() == errno.ENOENT:
            return None
        raise OSError(c.get_errno(), f"slot {index}: {os.strerror(c.get_errno())}")
    return check(library().bpf_map_get_fd_by_id(value), f"map {value.value}")


def pin(fd: int, path: Path) -> None:
    """Gives a map, a program or a link a name in a bpffs, so that it outlives this process."""
    check(library().bpf_obj_pin(fd, str(path).encode()), f"pin {path}")


def pinned(path: Path) -> int | None:
    """A new descriptor of what has a name in a bpffs; None where it has none."""
    fd: int = library().bpf_obj_get(str(path).encode())
    if fd < 0 and c.get_errno() == errno.ENOENT:
        return None
    return check(fd, f"open {path}")


def set_descriptor(map_fd: int, index: int, fd: int) -> None:
    """Puts a program or an inner map into a slot; for an inner map it returns when no program uses the old one."""
    key, value = c.c_uint32(index), c.c_uint32(fd)
    check(library().bpf_map_update_elem(map_fd, c.byref(key), c.byref(value), 0), f"slot {index}")


def program_in(map_fd: int, index: int) -> int | None:
    """The id of the program in a slot of an array of programs; None where it is empty."""
    key, value = c.c_uint32(index), c.c_uint32()
    if library().bpf_map_lookup_elem(map_fd, c.byref(key), c.byref(value)) < 0:
        if c.get_errno() == errno.ENOENT:
            return None
        raise OSError(c.get_errno(), f"slot {index}: {os.strerror(c.get_errno())}")
    return value.value


def program(number: int) -> int:
    """A new descriptor of a program by its id. Needs CAP_SYS_ADMIN."""
    return check(library().bpf_prog_get_fd_by_id(number), f"program {number}")


def tag(program_fd: int) -> str:
    """16 hexadecimal digits that the kernel names a program's code by, whatever its maps."""
    return info(program_fd)[8:16].hex()


def number(program_fd: int) -> int:
    """The id of a program (struct bpf_prog_info)."""
    return int(struct.unpack_from("=I", info(program_fd), 4)[0])


def name(program_fd: int) -> str:
    """What a program is called in C, its first 15 characters."""
    return info(program_fd)[64:80].rstrip(b"\0").decode("latin-1")


def clear_descriptor(map_fd: int, index: int) -> None:
    """Empties a slot, which may be empty already."""
    if library().bpf_map_delete_elem(map_fd, c.byref(c.c_uint32(index))) < 0 and c.get_errno() != errno.ENOENT:
        raise OSError(c.get_errno(), f"slot {index}: {os.strerror(c.get_errno())}")


class Object:
    """A loaded object file; closing it gives up its programs and maps unless links or pins hold them."""

    def __init__(self, path: Path, reuse: Callable[[str, Shape], int | None] = lambda _name, _shape: None) -> None:
        """`reuse` is asked for each map (.data and .bss by these names): the descriptor of one to take, or None."""
        self._lib = library()
        self._object = self._lib.bpf_object__open_file(str(path).encode(), None)
        if not self._object:
            code = c.get_errno()
            words = "is no BPF object of this kind of machine" if code >= OWN_CODES else os.strerror(code)
            raise OSError(code, f"{path}: {words}")
        try:
            for name, found in self._maps():
                fd = reuse(name, self._declared(found))
                if fd is not None:
                    check(self._lib.bpf_map__reuse_fd(found, fd), f"reuse {name}")
            check(self._lib.bpf_object__load(self._object), f"load {path.name}")
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Unloads what nothing else holds; twice does no harm."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None

    def program(self, name: str) -> int:
        """The descriptor of a program. KeyError where there is none."""
        found = self._lib.bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise KeyError(name)
        return check(self._lib.bpf_program__fd(found), name)

    def map_fd(self, name: str) -> int:
        """The descriptor of a map."""
        return check(self._lib.bpf_map__fd(self._map(name)), name)

    def map_view(self, name: str, dtype: np.dtype[np.void]) -> NDArray[np.void]:
        """A mmapable map, or .data and .bss (by those names), as records."""
        found = self._map(name)
        value: int = self._lib.bpf_map__value_size(found)
        entries: int = self._lib.bpf_map__max_entries(found)
        return view(self.map_fd(name), -(-value // 8) * 8 * entries, dtype)

    def maps(self) -> dict[str, int]:
        """The descriptor of each map by its name; .data, .bss and the like by the section's."""
        return {name: check(self._lib.bpf_map__fd(found), name) for name, found in self._maps()}

    def _maps(self) -> Iterator[tuple[str, int]]:
        found: int | None = self._lib.bpf_object__next_map(self._object, None)
        while found:
            name: bytes = self._lib.bpf_map__name(found)
            plain, dot, section = name.decode().partition(".")  # "balance.bss": the object's name, then the section's
            yield dot + section if dot else plain, found
            found = self._lib.bpf_object__next_map(self._object, found)

    def _declared(self, found: int) -> Shape:
        lib = self._lib
        return Shape(
            kind=lib.bpf_map__type(found),
            key_bytes=lib.bpf_map__key_size(found),
            value_bytes=lib.bpf_map__value_size(found),
            entries=lib.bpf_map__max_entries(found),
            flags=lib.bpf_map__map_flags(found),
        )

    def _map(self, name: str) -> int:
        found: int | None = self._lib.bpf_object__find_map_by_name(self._object, name.encode())
        if not found:
            raise KeyError(name)
        return found


class TestRun:
    """Runs one program on frames: what it returns, and the frame as it leaves. Buffers are made once: 2 us a run."""

    __test__ = False  # for pytest: not a test

    def __init__(self, program_fd: int) -> None:
        self._run = library().bpf_prog_test_run_opts
        self._fd = program_fd
        self._in = c.create_string_buffer(OUT_BYTES)
        self._out = c.create_string_buffer(OUT_BYTES)
        self._options = TestRunOpts(sz=c.sizeof(TestRunOpts))
        self._options.data_in, self._options.data_out = c.addressof(self._in), c.addressof(self._out)
        self._reference = c.byref(self._options)

    def __call__(self, frame: bytes, *, repeat: int = 1) -> tuple[int, bytes]:
        """(XDP action, frame); a frame has at least 14 bytes."""
        options = self._options
        c.memmove(self._in, frame, len(frame))
        options.data_size_in, options.data_size_out, options.repeat = len(frame), OUT_BYTES, repeat
        check(self._run(self._fd, self._reference), "test run")
        return options.retval, c.string_at(options.data_out, options.data_size_out)

    def context(self, address: int, size_bytes: int) -> None:
        """What every run finds beside the frame: a struct __sk_buff or xdp_md, which the caller keeps."""
        self._options.ctx_in, self._options.ctx_size_in = address, size_bytes

    @property
    def duration_ns(self) -> int:
        """Mean of the last call's runs."""
        duration: int = self._options.duration
        return duration
