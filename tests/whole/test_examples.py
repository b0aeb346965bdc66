"""Every example runs from anywhere, warns of nothing, writes only where it is told to, and says what it should."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rewind

ROOT = Path(rewind.__file__).parents[1]
EXAMPLES = ROOT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))

pytestmark = pytest.mark.once  # both kernels give the same bytes


def run(name, folder, *argv):
    """Return what an example prints when it is run in `folder`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    if "PYTHONPYCACHEPREFIX" not in env:  # where bytecode would be written beside the modules
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, argv)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def number(pattern, text):
    """Return the number that the group of `pattern` finds in `text`."""
    found = re.search(pattern, text)
    assert found, text
    return float(found[1].replace(",", ""))


@pytest.fixture
def output(request, tmp_path):
    if request.param == "numba_walk":
        pytest.importorskip("numba")
    if request.param == "native_step" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("there is no C compiler")
    if request.param == "native_step" and rewind.kernel_name == "python":
        pytest.skip("ten million steps through ctypes take a minute")
    text = run(request.param, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert 8 <= len(text.splitlines()) <= 25
    assert max(map(len, text.splitlines())) <= 120
    return text


def of(name):
    return pytest.mark.parametrize("output", [name], indirect=True)


def test_every_example_is_tested_and_listed():
    listed = re.findall(r"^- \[(\w+)\.py\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == NAMES
    assert sorted(re.findall(r'^@of\("(\w+)"\)', Path(__file__).read_text(), re.MULTILINE)) == NAMES


@of("random_walk")
def test_the_quickstart_says_these_very_words(output):
    # Integers and rational results rounded once: the same on every machine.
    lines = output.splitlines()
    assert "over all states  mean 341.86647, variance 212269.3494790886" in lines
    assert "branched there   x = 19, and -23 at the end instead of 381" in lines
    assert number(r"saved +([\d,]+) bytes", output) < 3000
    assert lines[-2:] == [
        "loaded           step 842,137 is the same: True",
        "verified         every block, bit for bit: True",
    ]


@of("nan_hunt")
def test_the_nan_is_found_where_it_is(output):
    bad = number(r"the first NaN is at step ([\d,]+)", output)
    assert bad == number(r"no replay needed: step ([\d,]+)", output) == 183_258
    # A scan costs the steps it looks at, give or take one for each of the 410 blocks after it.
    assert abs(number(r"ran step ([\d,]+) times", output) - bad) < 500
    assert re.search(r"step 183,257: value -?\d+\.\d+\n  step 183,258: value nan", output)
    assert re.search(r"loss capped at 95 %: value (-?[\d.]+) -> -?[\d.]+, at the end -?[\d.]+", output)
    assert re.search(r"same noise, no repair: +value -?[\d.]+ -> nan", output)
    assert "0 of 5 futures" in output and "verified, NaN and all: True" in output


@of("find_the_moment")
def test_the_cause_is_found_backward_from_the_damage(output):
    damage = number(r"first of them in minute ([\d,]+)", output)
    calm = number(r"last been empty in minute ([\d,]+)", output)
    listed = re.findall(r"^  minute ([\d,]+): (\d) -> (\d)", output, re.MULTILINE)
    minutes = [number(r"(.+)", minute) for minute, _, _ in listed]
    assert calm < minutes[0] and minutes == sorted(minutes) and minutes[-1] < damage
    assert number(r"last changed in minute ([\d,]+)", output) == minutes[-1]
    assert number(r"before that in minute ([\d,]+)", output) == minutes[-2]
    assert output.count("without the failure") == sum(new < old for _, old, new in listed) == 2
    assert number(r"same up to minute ([\d,]+), where .queue is", output) == damage


@of("inevitable")
def test_an_outbreak_becomes_inevitable(output):
    found = re.findall(r"day +(\d+), +\d+ ill: +(\d+)% \( *(\d+)% to +(\d+)%\)", output)
    table = [tuple(map(int, row)) for row in found]
    assert len(table) == 13 and all(low <= share <= high for _, share, low, high in table)
    settled = number(r"inevitable from day (\d+) on", output)
    assert settled == next(day for day, _, low, _ in table if low > 95)
    assert min(share for _, share, _, _ in table) < 50 and table[-1][1] == 100
    effect = re.findall(r"(\d+)%, +\d+ hit as it was; +(\d+)%", output)
    assert len(effect) == 3 and all(int(isolated) < int(alone) - 20 for alone, isolated in effect)
    assert output.endswith("the same number: True\n")


@of("sir_epidemic")
def test_common_random_numbers_pay(output):
    assert number(r"at most (\d+) of 2,000", output) > number(r"with masks: at most (\d+) ill", output)
    fresh, same = (number(rf"{noise} +noise: [\d.]+ \+- ([\d.]+)", output) for noise in ("fresh", "same"))
    assert same < fresh / 2
    assert number(r"as much as (\d+) pairs", output) >= 4
    assert "the same branch without masks ends as the run did: True" in output
    assert number(r"(\d+) people were spared", output) > number(r"and (\d+) hit that would not", output)


@of("langevin")
def test_equipartition_holds(output):
    for pattern in (r"<k x\^2> +([\d.]+) +theory ([\d.]+)", r"<m v\^2> +([\d.]+) +theory ([\d.]+)"):
        got, theory = map(float, re.search(pattern, output).groups())
        assert abs(got / theory - 1) < 0.02
    assert abs(number(r"on: <k x\^2> ([\d.]+)", output) / 3.0 - 1) < 0.02
    assert "'kT': 3.0" in output and "verified, in place and all: True" in output


@of("metropolis")
def test_the_chain_samples_its_density(output):
    means = re.findall(r"mean ([\d.]+) \+- ([\d.]+) \(truth 3\), variance ([\d.]+)", output)
    assert len(means) == 2
    for mean, error, _ in means:
        assert abs(float(mean) - 3) < 4 * float(error) + 0.005  # printed with two digits
    assert abs(float(means[1][2]) - 3) < 0.3
    assert 0.4 < number(r"width 5.0: +accepts (\d+)%", output) / 100 < 0.5
    assert number(r"worth (\d+) times", output) > 10
    assert output.endswith("verified: True\n")


@of("native_step")
def test_the_step_in_c_is_the_one_in_python(output):
    assert "to the same bits: True" in output and "every block, bit for bit: True" in output
    assert abs(number(r"variance ([\d.]+)", output) / number(r"theory ([\d.]+)", output) - 1) < 0.02


@of("numba_walk")
def test_the_centre_of_the_chain_has_half_a_kt(output):
    for energy, theory in re.findall(r": ([\d.]+), theory ([\d.]+)", output):
        assert abs(float(energy) / float(theory) - 1) < 0.1
    assert "loaded, the same states: True" in output and output.endswith("in place and all: True\n")


@of("ising")
def test_the_lattice_agrees_with_onsager(output):
    for name in ("magnetisation", "energy"):
        got, exact = map(float, re.search(rf"{name}: (-?[\d.]+), exact (-?[\d.]+)", output).groups())
        assert abs(got / exact - 1) < 0.02
    ordered = re.search(r"^magnetisation (.+)$", output, re.MULTILINE)[1]
    assert ordered[0] in "▁▂" and ordered[-1] == "█"
    assert re.search(r"heated to T = 3.0 [▁▂▃]+$", output, re.MULTILINE)
    assert output.endswith("verified: True\n")


def test_the_shell_goes_on_where_an_example_ends(tmp_path):
    # What examples/README.md shows: the command finds the step function, and the state's class, by itself.
    run("nan_hunt", tmp_path, tmp_path / "nan.replay")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "rewind", "get", str(tmp_path / "nan.replay"), "183257", "-1"]
    done = subprocess.run(command, cwd=EXAMPLES, env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == "rewind: importing step __main__:step from ./nan_hunt.py (source hash matches)\n".replace(
        "./", os.path.join(".", "")
    )
    assert re.fullmatch(r"183257:  State\(value=.*\n199999:  State\(value=nan, .*\n", done.stdout)


@of("killed_job")
def test_a_killed_job_goes_on_to_the_same_bytes(output):
    assert output.count("killed (-9)") == 2 and "never killed: True" in output
    assert "left in the folder: job.replay, whole.replay" in output


@of("rewind_a_run")
def test_an_epidemic_is_rewound_with_its_people_and_goes_on(output):
    assert re.search(r"^town@2: goes on at day (\d+), with \d+ ill, contacts 0.2$", output, re.MULTILINE)
    before, after = (
        number(rf"^town@{i}: .*'max': ([\d.]+)", part)
        for i, part in ((1, output), (2, output[output.index("town@2: ill") :]))
    )
    assert after < before
    assert "the same future again is the archived one: True" in output
    assert "rows that the simulations gave again: 240" in output
    assert all(ref in output[output.index("240") :] for ref in ("town@1", "town@2", "town-unchanged@1"))
