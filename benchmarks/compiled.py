"""The C and Cython files beside this one, compiled when needed, into a folder that is removed when the process ends."""

import atexit
import ctypes
import functools
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile

import numpy as np

import rewind

HERE = pathlib.Path(__file__).parent


class NoCompiler(Exception):
    """There is no C compiler, or it cannot compile this; the message says so."""


@functools.cache
def library(name):
    """Return ``NAME.c`` as a loaded library.

    As a user compiles a program: -O3 for any machine of this kind. numpy's random C library is linked to it.

    Raises
    ------
    NoCompiler
    """
    return ctypes.CDLL(_compile(HERE / f"{name}.c", f"{_folder()}/{name}.so", rewind.get_include()))


@functools.cache
def extension(name):
    """Return ``NAME.pyx``, which may cimport from the compiled kernel, as a module.

    Raises
    ------
    NoCompiler
    """
    if importlib.util.find_spec("Cython") is None:
        raise NoCompiler("Cython is not installed")
    if rewind.kernel_name != "compiled":
        raise NoCompiler("needs the compiled kernel")
    package = pathlib.Path(rewind.__file__).parent
    source = f"{_folder()}/{name}.c"
    command = [sys.executable, "-m", "cython", "-3", f"-I{package.parent}", str(HERE / f"{name}.pyx"), "-o", source]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoCompiler(f"{name}.pyx: {done.stderr.strip().splitlines()[-1]}")
    target = f"{_folder()}/{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    _compile(source, target, package, sysconfig.get_path("include"))
    spec = importlib.util.spec_from_file_location(name, target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def _folder():
    folder = tempfile.mkdtemp(prefix="rewind-benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _compile(source, target, *includes):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise NoCompiler("no C compiler (cc, gcc, clang)")
    random_library = pathlib.Path(np.random.__file__).parent / "lib"
    done = subprocess.run(
        [compiler, "-O3", "-ffp-contract=off", "-shared", "-fPIC"]
        + [*(f"-I{folder}" for folder in (*includes, np.get_include())), str(source)]
        + [f"-L{random_library}", "-lnpyrandom", "-lm", "-o", target],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NoCompiler(f"{pathlib.Path(source).name} does not compile here: {done.stderr.strip().splitlines()[-1]}")
    return target


def native_step(name):
    """Return the C function `name` of ``steps.c`` as a step function."""
    function = getattr(library("steps"), name)
    count = [ctypes.c_ssize_t] if name.endswith("_block") else []
    function.argtypes, function.restype = [ctypes.c_void_p, *count, ctypes.c_void_p, ctypes.c_void_p], ctypes.c_int
    return rewind.native_step(function)


def bitgen(seed):
    """Return a numpy bit generator, and the address of its ``bitgen_t``."""
    generator = np.random.PCG64(seed)
    return generator, ctypes.c_void_p(generator.ctypes.bit_generator.value)
