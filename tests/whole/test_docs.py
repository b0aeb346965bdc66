"""What the README and the docs show runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest

import rewind

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/format.md",
    "docs/how-it-works.md",
    "docs/numba-steps.md",
    "docs/parallel.md",
    "docs/questions.md",
    "docs/recording-to-disk.md",
    "docs/tracking.md",
]
MORE = ["docs/native-steps.md", "docs/performance.md", "docs/security.md"]
LINKING = [*PAGES, *MORE, "examples/README.md", "CHANGELOG.md"]


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    if "numba" in page:
        pytest.importorskip("numba")
    blocks = code_blocks(page)
    assert blocks
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, 1).save(tmp_path / "run.replay")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_quickstart_makes_a_file_of_under_4096_bytes(tmp_path):
    script = tmp_path / "quickstart.py"
    script.write_text(code_blocks("README.md")[0])
    subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, check=True)
    assert (tmp_path / "run.replay").stat().st_size <= 4096


def test_every_link_of_the_pages_leads_somewhere():
    for page in LINKING:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), (page, target)


def test_the_decisions_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_readme_names_the_two_commands_that_ci_runs():
    text = (ROOT / "README.md").read_text()
    assert len(re.findall(r"^    python3 -m venv .*pytest", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^    python3 -m venv .*examples/\w+\.py$", text, re.MULTILINE)) == 1
