"""Build the compiled kernel; where that fails, install the pure-Python twin alone.

``REWIND_BUILD=compiled`` makes a failed build an error, ``REWIND_BUILD=python`` does not build at all.
Everything else about the package is in pyproject.toml.
"""

import ast
import functools
import os
import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# A fused multiply-add rounds once where Python rounds twice, and fast-math reorders sums: either would give the
# kernel other bits than its twin. -march=native would give a wheel that only runs on the machine that built it.
# Debugging symbols would be five times the code.
EXACT = {"msvc": ["/O2", "/fp:precise"], "other": ["-O3", "-g0", "-ffp-contract=off", "-fno-fast-math"]}

#: Where Cython finds its sources: copies, in the package's folders, with every docstring written out.
SOURCES = Path("build/cython")


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


@functools.cache
def docstrings(path):
    """Return the docstring of each class and function of a Python file, by its dotted name."""
    found = {}

    def look_into(body, prefix):
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[prefix + node.name] = ast.get_docstring(node, clean=False)
                look_into(node.body, f"{prefix}{node.name}.")

    look_into(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


def completed(path):
    """Return the text of a .pyx file with the docstrings of its twin, wherever it says "As in ``the_twin.py``.".

    Each stands on the line of that sentence, its newlines escaped. So no line moves: the number that Cython or a
    traceback gives is the one in the file.
    """
    lines, names = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        opening = re.match(r"( *)(?:def|class|cdef class) (\w+)", line)
        if opening:
            names = [(depth, name) for depth, name in names if depth < len(opening[1])]
            names.append((len(opening[1]), opening[2]))
        same = re.search(r"As in ``(\w+\.py)``\.", line)
        if same:
            twin = Path("rewind/kernel", same[1])
            name = ".".join(name for _, name in names)
            text = docstrings(twin).get(name)
            if text is None:
                raise SystemExit(f"{path}:{number}: {twin} has no docstring of {name}")
            text = text.encode("unicode_escape").decode().replace('"', '\\"')
            line = line[: same.start()] + text + line[same.end() :]
        lines.append(line + "\n")
    return "".join(lines)


def write_sources():
    """Write what Cython needs to `SOURCES`, where it is not there already; return the .pyx files, as of the package."""
    modules = [Path("rewind/_core.pyx"), *sorted(Path("rewind/kernel").glob("_*.pyx"))]
    files = {path: completed(path) for path in modules}
    for folder in (Path("rewind"), Path("rewind/kernel")):
        files[folder / "__init__.py"] = ""
        files.update((path, path.read_text(encoding="utf-8")) for path in folder.glob("*.pxd"))
    for path, text in files.items():
        copy = SOURCES / path
        if not copy.is_file() or copy.read_text(encoding="utf-8") != text:  # Cython goes by the time of a file
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text, encoding="utf-8")
    return modules


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
        for source in write_sources()
    ]
    here = Path.cwd()
    os.chdir(SOURCES)  # so that a traceback says rewind/_core.pyx, without the folder of the copies
    try:
        modules = cythonize(modules)
    finally:
        os.chdir(here)
    for module in modules:
        module.sources = [(SOURCES / source).as_posix() for source in module.sources]
        module.optional = wanted != "compiled"  # after cythonize(), which drops it
    return modules


if __name__ == "__main__":  # tests/stress/sanitize.sh builds by itself
    setup(ext_modules=extensions(os.environ.get("REWIND_BUILD", "")), cmdclass={"build_ext": BuildExact})
