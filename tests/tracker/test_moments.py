"""Moments ``run_id?_step=200``, ids of runs, and what excludes what."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewind
from rewind.tracker.moment import FORBIDDEN, Moment, id_problem, new_run_id, reference

pytestmark = pytest.mark.once


@pytest.fixture
def begin(tmp_path):
    runs = []

    def init(**options):
        runs.append(rewind.init(dir=tmp_path, **options))
        return runs[-1]

    yield init
    for run in runs:
        run.finish()


@pytest.fixture
def run(begin):
    """A finished run of ten rows."""
    one = begin(id="k3f9")
    for i in range(10):
        one.log({"x": i, "loss": (i - 5) ** 2, "epoch": i // 2})
    one.finish()
    return one


BAD = [
    "k3f9?_step=nan", "k3f9?_step=inf", "k3f9?_step=-inf", "k3f9?_step=1e3", "k3f9?_step=1_000", "k3f9?_step=200.7",
    "k3f9?_step=2.0", "k3f9?_step=-5", "k3f9?_step=-0", "k3f9?_step=-01", "k3f9?_step=+5", "k3f9?_step=0x5",
    "k3f9?_step= 5", "k3f9?_step=5 ", "k3f9?_step=5\n", "k3f9?_step=\u0665", "k3f9?_step=\u00b2", "k3f9?_step=",
    "k3f9?_step", "k3f9?", "k3f9", "", "?_step=5", "k3f9?_step=3&_step=9", "k3f9?_step=3&x=1", "k3f9?_step=3?_step=4",
    "k3f9?loss=3", "k3f9?step=3", "k3f9? _step=3", "k3f9/a?_step=3", "k3f9/?_step=3", "k3f9?_step=3/", "k3f9?_step=3#a",
    "k3f9#a?_step=3", "runmoment://k3f9?_step=3", "https://k3f9?_step=3", "file:k3f9?_step=3", "k3f9;a?_step=3",
    "k,3?_step=1", "k'3?_step=1", " k3f9?_step=3", "k3f9 ?_step=3", "k3f9@?_step=3", "k3f9@0?_step=3",
    "k3f9@-1?_step=3",
    "k3f9@01?_step=3", "k3f9@x?_step=3", "k3f9@1.0?_step=3", "k3f9@1@2?_step=3", "@1?_step=3", "k3f9?_step=3@1",
    "k3f9?_STEP=3", "k3f9%20?_step=3&", "k3f9?_step==3", "k3f9\x00?_step=3", "\ud800?_step=3",
    "k3f9?_step=" + "9" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:30])
@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
def test_text_that_is_no_moment_is_refused_with_the_format_and_an_example(run, begin, text, way):
    with pytest.raises(
        rewind.MomentError, match=re.escape("'<run_id>?_step=<step>'") + ".*'k3f9.?_step=200'"
    ) as caught:
        begin(**{way: text})
    assert isinstance(caught.value, ValueError) and len(str(caught.value)) < 500
    assert len(run.revisions) == 1


@pytest.mark.parametrize("value", [5, 3.0, None.__class__, b"k3f9?_step=3", ["k3f9?_step=3"], ("k3f9", 3)])
def test_moment_that_is_no_text_is_refused(begin, value):
    with pytest.raises(rewind.MomentError, match="it is no text"):
        begin(resume_from=value)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("k3f9?_step=200", ("k3f9", 200, None)),
        ("k3f9?_step=0", ("k3f9", 0, None)),
        ("k3f9?_step=-1", ("k3f9", -1, None)),
        ("k3f9?_step=007", ("k3f9", 7, None)),
        ("k3f9@12?_step=3", ("k3f9", 3, 12)),
        ("K3f9-a_b.c 2?_step=3", ("K3f9-a_b.c 2", 3, None)),
        ("train-2025-01-12_05-02-41-823103-39?_step=1", ("train-2025-01-12_05-02-41-823103-39", 1, None)),
        ("schöner lauf?_step=1", ("schöner lauf", 1, None)),
    ],
)
def test_moment_has_run_step_and_revision(text, moment):
    assert Moment.parse(text) == Moment(*moment)
    assert Moment.parse(Moment(*moment)) == Moment(*moment)


@given(
    st.text(min_size=1, max_size=20).filter(lambda text: not id_problem(text)),
    st.integers(-1, 2**62 - 1),
    st.none() | st.integers(1, 10**9 - 1),
)
def test_moment_is_read_as_it_is_written(run_id, step, revision):
    moment = Moment(run_id, step, revision)
    assert Moment.parse(str(moment)) == moment
    assert reference(run_id if revision is None else f"{run_id}@{revision}") == (run_id, revision)


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_a_moment_error(text):
    for one in (text, f"a?{text}", f"a?_step={text}", f"{text}?_step=3", f"a@{text}?_step=3"):
        try:
            moment = Moment.parse(one)
        except rewind.MomentError:
            continue
        assert moment.step >= -1 and not id_problem(moment.run_id)


def test_unknown_run_names_the_nearest(run, begin):
    begin(id="k3f8").finish()
    begin(id="zzzzz").finish()
    for options in ({"resume_from": "k3f7?_step=3"}, {"fork_from": "k3f7?_step=3"}, {"id": "k3f7", "resume": "must"}):
        with pytest.raises(rewind.RunNotFoundError, match="no run 'k3f7'.*the nearest are") as caught:
            begin(**options)
        assert set(caught.value.nearest) == {"k3f9", "k3f8"}
    with pytest.raises(rewind.RunNotFoundError) as caught:
        begin(resume_from="0000?_step=3")  # like none: the latest are named
    assert set(caught.value.nearest) == {"k3f9", "k3f8", "zzzzz"}


def test_unknown_run_in_an_empty_folder_says_that_there_are_none(begin):
    with pytest.raises(rewind.RunNotFoundError, match="there are no runs"):
        begin(resume_from="k3f9?_step=3")


def test_unknown_revision_names_those_there_are(run, begin):
    begin(resume_from="k3f9?_step=3").finish()
    with pytest.raises(rewind.RunNotFoundError, match="it has 1, 2"):
        begin(resume_from="k3f9@3?_step=3")


@pytest.mark.parametrize("way", ["resume_from", "fork_from"])
@pytest.mark.parametrize("step", [2**62 - 1, 10**19 - 1])
def test_step_that_no_run_can_have_is_refused(run, begin, way, step):
    with pytest.raises(rewind.MomentError, match=f"there is no step {step}, its last step is 9"):
        begin(**{way: f"k3f9?_step={step}"})
    assert begin(**{way: "k3f9?_step=9"}).step == 10


def test_gap_is_a_place_to_rewind_to(begin):
    run = begin(id="k")
    for step in (0, 5, 10):
        run.log({"x": step}, step=step, commit=True)
    run.finish()
    again = begin(resume_from="k?_step=7")
    assert again.step == 8 and [row["_step"] for row in again.history()] == [0, 5]


def test_highest_step_is_kept_and_found(begin):
    run = begin(id="k")
    run.log({"x": 1}, step=2**62 - 1, commit=True)
    assert run.history() == [{"_step": 2**62 - 1, "x": 1}]
    with pytest.raises(rewind.ArgumentError, match="below"):
        run.log({"x": 1}, step=2**62)
    fork = begin(fork_from=f"k?_step={2**62 - 2}")
    assert fork.step == 2**62 - 1 and fork.history() == []


def test_metric_that_goes_back_is_no_place_to_rewind_to_and_says_so(run, begin):
    with pytest.raises(rewind.MomentError, match="'loss' is not monotonic, it goes back at step 1"):
        begin(resume_from="k3f9?loss=4")


def test_metric_that_never_goes_back_names_the_steps_it_is_at(run, begin):
    with pytest.raises(rewind.MomentError, match="'epoch' is 2 from step 4 to 5"):
        begin(fork_from="k3f9?epoch=2")
    with pytest.raises(rewind.MomentError, match="'epoch' is never 77"):
        begin(fork_from="k3f9?epoch=77")


def test_step_metric_that_is_not_monotonic_is_no_place_to_rewind_to(begin):
    run = begin(id="k")
    run.define_metric("loss", step_metric="epoch")
    for epoch in (0, 1, 2, 1, 2):
        run.log({"epoch": epoch, "loss": 1.0})
    run.finish()
    with pytest.raises(rewind.MomentError, match=r"only _step .*'epoch' is not monotonic, it goes back at step 3"):
        begin(resume_from="k?epoch=1")


# ---- ids


@pytest.mark.parametrize("value", ["", " a", "a ", "\ta", "a\n", ".", "..", "a\x00b", "a\u200bb", "\ud800", "a" * 129])
def test_id_that_is_empty_or_has_blanks_at_its_ends_is_refused(begin, value):
    with pytest.raises(rewind.ArgumentError, match="a run id; this one"):
        begin(id=value)


@pytest.mark.parametrize("character", ":;,#?/@'")
def test_id_that_holds_a_character_of_moments_is_refused(begin, character):
    assert character in FORBIDDEN
    for value in (f"a{character}b", character, f"{character}a"):
        with pytest.raises(rewind.ArgumentError, match="holds one of"):
            begin(id=value)


@pytest.mark.parametrize("value", [5, b"a", 1.5, True, ["a"]])
def test_id_that_is_no_text_is_refused(begin, value):
    with pytest.raises(rewind.ArgumentTypeError, match="id is"):
        begin(id=value)


def test_ids_of_any_script_and_length_are_runs_of_their_own(begin):
    ids = ["a b", "ä" * 120 + "1", "ä" * 120 + "2", "%20", "a%20b", "x" * 128, "r-f", "~", "CON", "a\\b", "K", "k"]
    for run in [begin(id=one) for one in ids]:
        run.log({"id": run.id})
        run.finish()
    for one in ids:
        assert begin(resume_from=f"{one}?_step=0").history() == [{"_step": 0, "id": one}]


def test_new_ids_are_eight_characters_of_base_36():
    ids = {new_run_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(re.fullmatch("[0-9a-z]{8}", one) for one in ids)


# ---- what excludes what


@pytest.mark.parametrize(
    "options",
    [
        {"resume": "must", "resume_from": "k3f9?_step=3"},
        {"resume": "allow", "fork_from": "k3f9?_step=3"},
        {"resume": "auto", "resume_from": "k3f9?_step=3"},
        {"resume": "never", "fork_from": "k3f9?_step=3"},
        {"resume_from": "k3f9?_step=3", "fork_from": "k3f9?_step=3"},
        {"resume": True, "resume_from": "k3f9?_step=3", "fork_from": "k3f9?_step=3"},
    ],
)
def test_resume_and_resume_from_and_fork_from_exclude_each_other(run, begin, options):
    with pytest.raises(rewind.ArgumentError, match="expected no resume.* as well.*fork_from makes a new run"):
        begin(**options)


def test_resume_from_of_another_run_than_id_says_what_to_do(run, begin):
    with pytest.raises(rewind.ArgumentError, match=r"Leave id out, or use fork_from='k3f9\?_step=3'"):
        begin(id="other", resume_from="k3f9?_step=3")


def test_fork_into_its_own_id_says_what_to_do(run, begin):
    with pytest.raises(rewind.ArgumentError, match=r"resume_from='k3f9\?_step=3' rewinds the run itself"):
        begin(id="k3f9", fork_from="k3f9?_step=3")


def test_fork_into_an_id_that_is_taken_is_refused(run, begin):
    begin(id="taken").finish()
    with pytest.raises(rewind.RunExistsError, match="'taken'"):
        begin(id="taken", fork_from="k3f9?_step=3")


def test_id_of_the_run_itself_is_fine_with_resume_from(run, begin):
    assert begin(id="k3f9", resume_from="k3f9?_step=3").revision == 2


def test_resume_from_keeps_the_id_and_fork_from_makes_a_new_one(run, begin):
    assert begin(resume_from="k3f9?_step=3").id == "k3f9"
    assert re.fullmatch("[0-9a-z]{8}", begin(fork_from="k3f9?_step=3").id)
    assert begin(id="mine", fork_from="k3f9?_step=3").id == "mine"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"resume": "perhaps"}, "resume"), ({"resume": 2}, "resume"), ({"on_dropped": "ignore"}, "on_dropped"),
        ({"project": 5}, "project"), ({"entity": 5}, "entity"), ({"name": 5}, "name"), ({"notes": 5}, "notes"),
        ({"project": "\ud800"}, "project"), ({"notes": "\ud800"}, "notes"), ({"name": "\udfff"}, "name"),
        ({"tags": "abc"}, "tags"), ({"tags": 5}, "tags"), ({"tags": [5]}, "tags"), ({"tags": {"a": 1}}, "tags"),
        ({"config": 5}, "config"), ({"config": [1]}, "config"),
    ],
)  # fmt: skip
def test_argument_that_cannot_be_meant_is_named(begin, options, name):
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match=name):
        begin(**options)
