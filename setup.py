"""Build the compiled kernel; where that fails, install the pure-Python twin alone.

``REWIND_BUILD=compiled`` makes a failed build an error, ``REWIND_BUILD=python`` does not build at all.
Everything else about the package is in pyproject.toml.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# A fused multiply-add rounds once where Python rounds twice, and fast-math reorders sums: either would give the
# kernel other bits than its twin. -march=native would give a wheel that only runs on the machine that built it.
# Debugging symbols would be five times the code.
EXACT = {"msvc": ["/O2", "/fp:precise"], "other": ["-O3", "-g0", "-ffp-contract=off", "-fno-fast-math"]}


class BuildExact(build_ext):
    """The usual command, with the flags of the compiler it found, on all processors."""

    def finalize_options(self):
        """Compile several extensions at a time."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extension(self, ext):
        """Compile `ext` with exact floating-point arithmetic."""
        ext.extra_compile_args = EXACT.get(self.compiler.compiler_type, EXACT["other"])
        super().build_extension(ext)


def extensions(wanted):
    """Return the extension modules to build, for `wanted` = ``compiled``, ``python`` or nothing."""
    if wanted not in ("", "compiled", "python"):
        raise SystemExit(f"REWIND_BUILD is {wanted!r}; expected 'compiled', 'python' or nothing")
    if wanted == "python":
        return []
    import numpy
    from Cython.Build import cythonize

    numpy_random = Path(numpy.random.__file__).parent / "lib"  # numpy's own distributions, as a static library
    modules = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [source.as_posix()],
            include_dirs=[numpy.get_include(), "rewind/kernel"],
            library_dirs=[str(numpy_random)],
            libraries=["npyrandom"] if source.stem == "_draws" else [],
            depends=[header.as_posix() for header in sorted(Path("rewind/kernel").glob("*.h"))],
        )
        for source in [Path("rewind/_core.pyx"), *sorted(Path("rewind/kernel").glob("_*.pyx"))]
    ]
    modules = cythonize(modules)
    for module in modules:
        module.optional = wanted != "compiled"  # after cythonize(), which drops it
    return modules


setup(ext_modules=extensions(os.environ.get("REWIND_BUILD", "")), cmdclass={"build_ext": BuildExact})
