"""What a user installs: with a compiler, without one, and from the source archive. Needs no network."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from helpers.shared import made_once

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

if not (ROOT / "setup.py").exists():
    pytest.skip("the tests run without the source tree", allow_module_level=True)


def run(*command, cwd, **env):
    """Return what `command` prints; `env` is added to the environment, without what would steer a build or kernel."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("REWIND_BUILD", "REWIND_KERNEL", "PYTHONPATH", "CC", "CFLAGS", "LDSHARED")
    }
    answer = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=inherited | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return answer.returncode, answer.stdout


@pytest.fixture(scope="session")
def translated(tmp_path_factory):
    """A copy of the source tree without what was built in it, but with the C files that Cython makes of it.

    Those of the tree itself are taken along: Cython makes again what is older than its source, and leaves the rest.
    """

    def make(folder):
        built = shutil.ignore_patterns(
            ".*", "build", "dist", "*.egg-info", "__pycache__", "_*.c", "*.so", "*.pyd", "*.replay"
        )
        shutil.copytree(ROOT, folder / "rewind", ignore=built)
        if (ROOT / "build" / "cython").is_dir():
            shutil.copytree(ROOT / "build" / "cython", folder / "rewind" / "build" / "cython")
        code, output = run("setup.py", "--version", cwd=folder / "rewind", REWIND_BUILD="compiled")
        assert code == 0 and len(list((folder / "rewind" / "build" / "cython").rglob("_*.c"))) == 4, output

    return made_once(tmp_path_factory, "source", make) / "rewind"


@pytest.fixture
def source(translated, tmp_path_factory):
    """A copy of it, to build in: Cython leaves alone what is newer than its source."""
    return shutil.copytree(translated, tmp_path_factory.mktemp("source") / "rewind")


#: What pip runs in the end, once it has asked for requirements and for metadata, which runs setup.py each time.
BACKEND = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def make_wheel(source, folder, *, by_pip=False, **env):
    """Return the exit code, the output and the wheel, None if there is none."""
    for old in (source / "build").glob("*"):
        if old.name != "cython":
            shutil.rmtree(old)
    if by_pip:
        options = ["-v", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder)]
        code, output = run("-m", "pip", "wheel", *options, ".", cwd=source, **env)
    else:
        code, output = run("-c", BACKEND, str(folder), cwd=source, **env)
    return code, output, next(folder.glob("*.whl"), None)


#: A compiler that compiles nothing: it says what it is asked, and gives for each extension the one the project has.
LENDER = """\
#!/bin/sh
while [ $# -gt 1 ] && [ "$1" != -o ]; do shift; done
case "$2" in
*.so) cp "$(find '{root}/rewind' -name "$(basename "$2")")" "$2" ;;
*) : > "$2" ;;
esac
"""


def lend_extensions(folder):
    """Return the ``CC`` for a build that takes the extensions this tree was installed with; {} where there are none."""
    if sys.platform == "win32" or not list((ROOT / "rewind").glob(f"_core{sysconfig.get_config_var('EXT_SUFFIX')}")):
        return {}
    compiler = folder / "cc"
    compiler.write_text(LENDER.format(root=ROOT))
    compiler.chmod(0o755)
    return {"CC": str(compiler)}


def kernel_of(wheel, folder):
    """Unpack `wheel` in `folder`, as an install does, and return the name of the kernel it runs."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    program = (  # an editable install of the project would lend its compiled kernel to the one under test
        "import sys, pathlib; sys.path.insert(0, '.'); "
        "sys.meta_path[:] = [f for f in sys.meta_path if not str(f.__module__).startswith('__editable__')]; "
        "from rewind import kernel; "
        "assert pathlib.Path(kernel.__file__).parents[2] == pathlib.Path.cwd(), kernel.__file__; "
        "kernel.BlockRng(1, 'numpy').start(5); "
        "print(kernel.kernel_name)"
    )
    code, output = run("-W", "error", "-c", program, cwd=folder)
    assert code == 0, output
    return output.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="CC does not choose the compiler there")
def test_without_a_compiler_the_install_succeeds_on_the_python_kernel(source, tmp_path):
    for cc in ("/bin/false", "/nowhere/cc"):
        folder = tmp_path / cc.replace("/", "_")
        folder.mkdir()
        code, output, wheel = make_wheel(source, folder, by_pip=cc == "/nowhere/cc", CC=cc)
        assert code == 0, output
        assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".so", ".pyd"))]
        assert kernel_of(wheel, folder) == "python"


@pytest.mark.skipif(sys.platform == "win32", reason="CC does not choose the compiler there")
def test_asking_for_the_compiled_kernel_fails_without_a_compiler(source, tmp_path):
    code, output, wheel = make_wheel(source, tmp_path, CC="/bin/false", REWIND_BUILD="compiled")
    assert code != 0
    assert wheel is None
    assert "/bin/false" in output


def test_asking_for_the_python_kernel_gives_a_wheel_for_any_machine(source, tmp_path):
    code, output, wheel = make_wheel(source, tmp_path, REWIND_BUILD="python")
    assert code == 0, output
    assert wheel.name.endswith("-py3-none-any.whl")
    assert kernel_of(wheel, tmp_path) == "python"


def test_a_misspelt_build_is_refused(source, tmp_path):
    code, output, wheel = make_wheel(source, tmp_path, REWIND_BUILD="fast")
    assert code != 0
    assert "REWIND_BUILD is 'fast'; expected 'compiled', 'python' or nothing" in output


@pytest.mark.compiled
def test_a_wheel_holds_the_compiled_kernel_and_no_source_of_it(source, tmp_path):
    # The last flag wins: an environment that asks for inexact arithmetic must come before setup.py on the command line.
    hostile = {} if sys.platform == "win32" else {"CFLAGS": "-ffast-math -ffp-contract=fast"}
    lent = lend_extensions(tmp_path)
    code, output, wheel = make_wheel(source, tmp_path, REWIND_BUILD="compiled", **hostile, **lent)
    assert code == 0, output
    names = zipfile.ZipFile(wheel).namelist()
    assert {"rewind/py.typed", "rewind/_core.pyi", "rewind/kernel/core.py", "rewind/kernel/__init__.py"} <= set(names)
    assert not [name for name in names if name.endswith((".pyx", ".c")) or name.startswith("tests")]
    assert kernel_of(wheel, tmp_path) == "compiled"
    if sys.platform != "win32":
        line = next(line for line in output.splitlines() if "_core.c " in line and " -c " in line)
        assert line.rindex("-ffp-contract=off") > line.rindex("-ffp-contract=fast")
        assert line.rindex("-fno-fast-math") > line.rindex("-ffast-math")
        assert "-march" not in line


def test_the_source_archive_holds_what_a_build_needs(source, tmp_path):
    (source / "rewind" / "_core.c").write_text("stale")
    code, output = run("setup.py", "-q", "sdist", "-d", str(tmp_path), cwd=source, REWIND_BUILD="python")
    assert code == 0, output
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    needed.add("tests/conftest.py")
    files = ["_core.pyx", "_core.pyi", "kernel/core.py", "kernel/_sums.pyx", "kernel/_sums.h", "errors.py", "py.typed"]
    needed |= {f"rewind/{name}" for name in files} | {"tests/golden/streams.json"}
    assert needed <= names, sorted(needed - names)
    assert not [name for name in names if name.endswith(("_core.c", "_draws.c", "_native.c", "_sums.c", ".so", ".pyc"))]


def test_cython_compiles_copies_that_hold_the_docstrings_of_the_twins(source):
    def write():
        code, output = run("-c", "import setup; setup.write_sources()", cwd=source)
        assert code == 0, output
        copies = sorted((source / "build" / "cython").rglob("*.pyx"))
        assert len(copies) == 4
        return {path: (path.stat().st_mtime_ns, path.read_text(encoding="utf-8")) for path in copies}

    copies = write()
    for path, (_, text) in copies.items():
        given = (source / path.relative_to(source / "build" / "cython")).read_text(encoding="utf-8")
        lines = list(zip(text.splitlines(), given.splitlines(), strict=True))  # so a line keeps its number
        assert all(line == original for line, original in lines if "As in ``" not in original)
        assert "As in ``" not in text.replace("As in ``_", ""), path
    assert write() == copies
    twin = source / "rewind" / "kernel" / "draws.py"
    text = twin.read_text(encoding="utf-8")
    try:
        twin.write_text(text.replace('"""Return the names', '"""Return all the names'), encoding="utf-8")
        changed = {path.name for path, (time, text) in write().items() if copies[path] != (time, text)}
        assert changed == {"_draws.pyx"}
        twin.write_text(text.replace("def accelerated", "def slowed"), encoding="utf-8")
        code, output = run("-c", "import setup; setup.write_sources()", cwd=source)
        assert code != 0 and "draws.py has no docstring of accelerated" in output
    finally:
        twin.write_text(text, encoding="utf-8")
