"""What the README and the docs show runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest

import rewind

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    "docs/format.md",
    "docs/from-a-script.md",
    "docs/from-wandb.md",
    "docs/how-it-works.md",
    "docs/numba-steps.md",
    "docs/parallel.md",
    "docs/questions.md",
    "docs/recording-to-disk.md",
    "docs/tracking.md",
    "docs/your-simulation.md",
]
MORE = ["docs/native-steps.md", "docs/performance.md", "docs/security.md", "docs/shell.md", "docs/laws.md"]
DECISIONS = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
LINKING = ["README.md", *PAGES, *MORE, *(f"docs/decisions/{name}" for name in DECISIONS)]
LINKING += ["docs/decisions/README.md", "examples/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def code_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


#: Both kernels give the same bytes, so that one of them is asked to run the longer pages.
ONCE = [page for page in PAGES if page != "docs/how-it-works.md"]


def run_page(page, tmp_path):
    """Run the code of `page` in `tmp_path`, where there is a run.replay already."""
    blocks = code_blocks(page)
    assert blocks
    rewind.record(lambda x, rng: x + rng.random(), 0.0, 100, 1).save(tmp_path / "run.replay")
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.once] * (page in ONCE)) for page in PAGES])
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    if "numba" in page:
        pytest.importorskip("numba")
    run_page(page, tmp_path)


def test_the_readme_quickstart_runs_and_makes_a_file_of_the_size_it_says(tmp_path):
    (code,) = code_blocks("README.md")
    said = int(re.search(r"# (\d+) KB, plain HDF5", code)[1]) * 1000
    run_page("README.md", tmp_path)
    assert said * 0.9 <= (tmp_path / "run.replay").stat().st_size <= said


def test_the_readme_has_at_most_80_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 80


def test_every_link_of_the_pages_leads_somewhere():
    for page in LINKING:
        for target in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
            assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), (page, target)


def test_the_decisions_are_numbered_without_gaps():
    assert [int(name[:4]) for name in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_every_decision_is_in_the_index():
    index = (ROOT / "docs/decisions/README.md").read_text()
    assert re.findall(r"^- \[.+\]\((\d.+\.md)\)", index, re.MULTILINE) == DECISIONS


def test_the_readme_names_the_two_commands_that_ci_runs():
    text = (ROOT / "README.md").read_text()
    assert len(re.findall(r"^    python3 -m venv .*pytest", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^    python3 -m venv .*examples/\w+\.py$", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("page", sorted(set(LINKING)))
def test_every_path_that_a_page_names_is_there(page):
    named = re.findall(r"`(?:python )?((?:rewind|tests|benchmarks|examples|docs)/[\w./-]*)(?:::\w+)?`", text_of(page))
    missing = [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_every_test_that_the_laws_name_is_there():
    path, found = "", 0
    for word in re.findall(r"`([^`\n]+)`", text_of("docs/laws.md")):
        file, _, test = word.partition("::")
        if test:
            path, found = file or path, found + 1
            assert f"def {test}(" in (ROOT / path).read_text(), word
        elif file.startswith("tests/") and file.endswith(".py"):
            path = file
    assert found > 30


def test_the_laws_are_numbered_without_gaps():
    numbers = re.findall(r"^## (\d+)\. ", text_of("docs/laws.md"), re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 15)]
