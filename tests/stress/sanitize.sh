#!/bin/sh
# The tests of the compiled kernel under AddressSanitizer and UndefinedBehaviorSanitizer: sh tests/stress/sanitize.sh [TEST ...]
#
# Builds the kernel of this tree in a temporary folder, which is gone afterwards, with $PYTHON (python3): some minutes.
# It needs cython, setuptools, numpy, h5py, pytest and hypothesis there, and gcc. $PYTEST_FLAGS go to pytest.
# A TEST is a file under tests, without its suffix.
set -eu
PYTHON=${PYTHON:-python3}
CC=${CC:-gcc}
HERE=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
KERNEL="kernel/test_kernel kernel/test_seeding kernel/test_draws kernel/test_sums"
TESTS="${*:-$KERNEL steps/test_native engine/test_snapshots engine/test_held_states runs/test_record}"

FOLDER=$(mktemp -d "${TMPDIR:-/tmp}/rewind-sanitize-XXXXXX")
trap 'rm -rf "$FOLDER"' EXIT
trap 'exit 130' INT TERM

skip() {
    echo "skipped: $1"
    exit 0
}

# ---- what is here

command -v "$CC" >/dev/null || skip "there is no $CC"
"$PYTHON" -c 'import Cython, h5py, hypothesis, numpy, pytest, setuptools' 2>"$FOLDER/why" || skip "$PYTHON: $(tail -n 1 "$FOLDER/why")"
ASAN=$("$CC" -print-file-name=libasan.so)
UBSAN=$("$CC" -print-file-name=libubsan.so)
CXX=$("$CC" -print-file-name=libstdc++.so.6) # asan looks for its throw once, at the start
for library in "$ASAN" "$UBSAN"; do
    [ -e "$library" ] || skip "$CC has no $library"
done
FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
echo 'int main(void) { return 0; }' >"$FOLDER/probe.c"
# shellcheck disable=SC2086
"$CC" $FLAGS "$FOLDER/probe.c" -o "$FOLDER/probe" 2>"$FOLDER/why" && "$FOLDER/probe" 2>>"$FOLDER/why" ||
    skip "$CC cannot sanitize: $(tail -n 1 "$FOLDER/why")"

# ---- build

cp -R "$HERE/rewind" "$HERE/tests" "$HERE/docs" "$HERE/README.md" "$HERE/pyproject.toml" "$HERE/setup.py" "$FOLDER"
cd "$FOLDER"
find rewind -name '*.so' -o -name '*.pyd' -o -name '*.c' ! -path '*/include/*' | xargs rm -f
where() {
    "$PYTHON" -c "import numpy, os, sysconfig; print($1)"
}
PYTHON_H=$(where 'sysconfig.get_paths()["include"]')
NUMPY_H=$(where 'numpy.get_include()')
NUMPY_LIB=$(where 'os.path.join(os.path.dirname(numpy.random.__file__), "lib")')
SUFFIX=$(where 'sysconfig.get_config_var("EXT_SUFFIX")')
SOURCES=$("$PYTHON" -c 'import setup; setup.write_sources(); print(setup.SOURCES)')
for source in rewind/_*.pyx rewind/kernel/_*.pyx; do
    name=${source%.pyx}
    echo "build $name"
    (cd "$SOURCES" && "$PYTHON" -m cython -3 "$source" -o "$FOLDER/$name.c")
    # shellcheck disable=SC2086
    "$CC" -shared -fPIC -O1 -g -ffp-contract=off -fno-fast-math $FLAGS "-I$PYTHON_H" "-I$NUMPY_H" -Irewind/kernel \
        "$name.c" -o "$name$SUFFIX" "-L$NUMPY_LIB" -lnpyrandom -lm
done

# ---- run
#
# PYTHONMALLOC: each object has memory of its own, so that a step beyond it is seen. Leaks are not looked for: an
# interpreter that ends leaves most of what it has. What the tests run besides is without the preload where it has to be.

export PYTHONPATH="$FOLDER" PYTHONMALLOC=malloc REWIND_KERNEL=compiled
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=0:exitcode=99:log_path=$FOLDER/found:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:log_path=$FOLDER/found"
export LD_PRELOAD="$ASAN $UBSAN $CXX"
echo 'int at(int *x, int i) { return x[i]; }' >"$FOLDER/probe.c"
# shellcheck disable=SC2086
LD_PRELOAD='' "$CC" -shared -fPIC $FLAGS "$FOLDER/probe.c" -o "$FOLDER/probe.so"
if "$PYTHON" -c "import ctypes; x = (ctypes.c_int * 9)(); ctypes.CDLL('$FOLDER/probe.so').at(x, 9)" 2>/dev/null; then
    echo "the sanitizer does not see a read beyond an array"
    exit 1
fi
rm -f "$FOLDER"/found*
"$PYTHON" -c 'import rewind; assert rewind.kernel_name == "compiled"; print(rewind.__file__)'
failed=0
for test in $TESTS; do
    echo "$test"
    # shellcheck disable=SC2086
    "$PYTHON" -m pytest -q -o addopts= -p no:cacheprovider ${PYTEST_FLAGS:-} "tests/$test.py" >"$FOLDER/out" 2>&1 || failed=1
    grep -E '^(FAILED|ERROR)|passed|failed|error' "$FOLDER/out" || tail -n 20 "$FOLDER/out"
done
unset LD_PRELOAD
[ "$failed" = 0 ] || echo "tests failed; with nothing below they did so by themselves, as one that takes ten times as long may"
for found in "$FOLDER"/found*; do
    [ -e "$found" ] || continue
    failed=1
    echo "---- a sanitizer says"
    cat "$found"
done
[ "$failed" != 0 ] || echo "nothing found"
exit "$failed"
