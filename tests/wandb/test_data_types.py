"""Images, tables, sounds and the like: what the row says of them is what W&B's client writes, and the file has them."""

from __future__ import annotations

import io
import json
import pathlib
import struct
import sys
import types
import wave
import zlib

import numpy as np
import pytest

import rewind
from rewind.tracker.media import CONVERTERS
from rewind.wandb import data_types as wandb
from rewind.wandb.data_types.convert import converted, register

pytestmark = pytest.mark.once


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["rewind.tracker.media"], "CONVERTERS", [])
    with rewind.init(dir=tmp_path / "store") as run:
        yield run


def logged(run, value):
    """What the row has of a value, and the contents of its files by their path."""
    step, key = run.step, f"x{run.step}"
    run.log({key: value})
    files = {one.path: pathlib.Path(one.location).read_bytes() for one in run.media if f"/{key}_" in one.path}
    return run.history(min_step=step)[0][key], files


def without_hashes(facts):
    return {name: value for name, value in facts.items() if name not in ("path", "sha256", "digest", "size")}


def decoded(png):
    """The pixels of a PNG file of 8 bits without filters, by the book."""
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", png[16:29])
    assert (png[:8], depth, rest) == (b"\x89PNG\r\n\x1a\n", 8, [0, 0, 0])
    at, data = 8, b""
    while at < len(png):
        (n,) = struct.unpack(">I", png[at : at + 4])
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + n]
        assert struct.unpack(">I", png[at + 8 + n : at + 12 + n]) == (zlib.crc32(name + body),)
        data += body if name == b"IDAT" else b""
        at += 12 + n
    channels = {0: 1, 4: 2, 2: 3, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels)


# ---- images


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_array_of_bytes_is_a_png_of_just_these(run, channels):
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, channels), np.uint8)
    row, ((path, content),) = (lambda row, files: (row, files.items()))(*logged(run, wandb.Image(pixels, caption="c")))
    facts = {"_type": "image-file", "format": "png", "width": 7, "height": 5, "caption": "c"}
    assert without_hashes(row) == facts and row["size"] == len(content)
    assert path == row["path"] == f"media/images/x0_{row['sha256'][:20]}.png"
    assert np.array_equal(decoded(content), pixels)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255], [1, 2]]), [[0, 255], [1, 2]]), (np.array([[0.0, 1.0, 0.5]]), [[0, 255, 127]]),
        (np.array([[-1.0, 1.0], [0.0, 0.5]]), [[0, 255], [127, 191]]), (np.array([[0.0, 200.7]]), [[0, 200]]),
        (np.array([[True, False]]), [[255, 0]]), (np.array([[300, -5]]), [[255, 0]]), (np.zeros((1, 2)), [[0, 0]]),
        (np.full((1, 2), -3.0), [[0, 0]]),
    ],
)  # fmt: skip
def test_numbers_become_bytes_of_a_picture(array, expected):
    normalize = array.dtype.kind == "f"
    assert decoded(wandb.Image(array, normalize=normalize).bytes())[..., 0].tolist() == expected


def test_tensor_has_its_channels_in_front(run):
    class Tensor:
        def __init__(self, array):
            self.array = array

        def detach(self):
            return self

        def numpy(self, force=False):
            return self.array

    assert wandb.Image(Tensor(np.zeros((3, 4, 5)))).size == (5, 4)
    assert wandb.Image(Tensor(np.zeros((4, 5)))).size == (5, 4)


def test_image_of_a_file_is_that_file(run, tmp_path):
    png = wandb.Image(np.zeros((2, 3), np.uint8)).bytes()
    (tmp_path / "a.PNG").write_bytes(png)
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 not really")
    row, files = logged(run, wandb.Image(tmp_path / "a.PNG"))
    assert (row["width"], row["height"], row["format"]) == (3, 2, "png") and list(files.values()) == [png]
    row, files = logged(run, wandb.Image(str(tmp_path / "b.jpg")))
    assert row["format"] == "jpg" and list(files.values()) == [b"\xff\xd8 not really"]
    again = wandb.Image(wandb.Image(tmp_path / "a.PNG", caption="one"))
    assert again.caption == "one" and again.bytes() == png
    for bad, message in ((tmp_path / "none.png", "that is there"), (__file__, r"\.png, \.jpg")):
        with pytest.raises(rewind.ArgumentError, match=message):
            wandb.Image(bad)


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 5)), np.zeros(3), np.array([["a"]]), object(), np.zeros((0, 3))])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError), match="data_or_path is .*an array of shape"):
        wandb.Image(bad)


def test_list_of_images_is_one_object_with_their_files(run):
    images = [wandb.Image(np.full((2, 3), i, np.uint8), caption=c) for i, c in enumerate(["a", None])]
    row, files = logged(run, images)
    assert {name: row[name] for name in ("_type", "count", "format", "width", "height", "captions")} == {
        "_type": "images/separated", "count": 2, "format": "png", "width": 3, "height": 2, "captions": ["a", None],
    }  # fmt: skip
    assert [decoded(files[path])[0, 0, 0] for path in row["filenames"]] == [0, 1]


def test_boxes_and_masks_of_an_image_are_files_beside_it(run):
    box = {"position": {"minX": 0, "maxX": np.float32(0.5), "minY": 0, "maxY": 1}, "class_id": np.int64(1)}
    image = wandb.Image(
        np.zeros((2, 3)),
        boxes={"predictions": {"box_data": [box], "class_labels": {1: "car"}}},
        masks={"truth": {"mask_data": np.array([[0, 1, 2], [3, 4, 255]]), "class_labels": {0: "road"}}},
        classes=[{"id": 0, "name": "road"}],
    )
    row, files = logged(run, image)
    boxes, mask = row["boxes"]["predictions"], row["masks"]["truth"]
    assert (boxes["_type"], mask["_type"], mask["class_labels"]) == ("boxes2D", "mask", {"0": "road"})
    assert json.loads(files[boxes["path"]])["box_data"][0]["position"]["maxX"] == 0.5
    assert decoded(files[mask["path"]])[..., 0].tolist() == [[0, 1, 2], [3, 4, 255]]
    for bad in ({"mask_data": np.full((2, 2), 256)}, {"mask_data": np.zeros(3)}, {}):
        with pytest.raises((rewind.ArgumentError, rewind.ArgumentTypeError)):
            wandb.Image(np.zeros((2, 2)), masks={"m": bad})
    with pytest.raises(rewind.ArgumentTypeError, match="box_data"):
        wandb.Image(np.zeros((2, 2)), boxes={"p": [box]})


# ---- tables


def test_table_keeps_its_column_names_and_cells(run):
    table = wandb.Table(columns=["a", "b"], data=[[1, "x"], [2.5, None]])
    table.add_data(np.float32(0.5), np.arange(2))
    row, files = logged(run, table)
    assert without_hashes(row) == {"_type": "table-file", "nrows": 3, "ncols": 2}
    assert row["path"].endswith(".table.json")
    assert json.loads(files[row["path"]]) == {"columns": ["a", "b"], "data": [[1, "x"], [2.5, None], [0.5, [0, 1]]]}
    assert wandb.Table.of_text(files[row["path"]]).data[2] == [0.5, [0, 1]]
    with pytest.raises(rewind.ArgumentError, match=r"a row is \[1\]; expected 2 cells, for a, b"):
        table.add_data(1)


def test_media_in_cells_are_kept_with_the_table(run):
    image = wandb.Image(np.zeros((2, 2), np.uint8))
    row, files = logged(run, wandb.Table(["image", "many"], [[image, [image, image]]]))
    ((cell, many),) = json.loads(files[row["path"]])["data"]
    assert cell["_type"] == "image-file" and cell["path"] in files and len(files) == 2
    assert many["filenames"] == [cell["path"]] * 2


def test_columns_of_a_table():
    table = wandb.Table(columns=["a"], data=[[1], [2]])
    table.add_column("b", ["x", "y"])
    table.add_computed_columns(lambda i, row: {"c": i + row["a"]})
    assert table.columns == ["a", "b", "c"] and list(table.iterrows()) == [(0, [1, "x", 1]), (1, [2, "y", 3])]
    assert table.get_column("c") == [1, 3] and table.get_column("a", convert_to="numpy").tolist() == [1, 2]
    with pytest.raises(rewind.ArgumentError, match="2, one for each row"):
        table.add_column("d", [1])
    with pytest.raises(rewind.ArgumentError, match="a column that is not there"):
        table.add_column("a", [1, 2])
    assert wandb.Table().columns == ["Input", "Output", "Expected"]
    assert wandb.Table(columns=["a", "b"], data=np.eye(2)).data == [[1.0, 0.0], [0.0, 1.0]]
    empty = wandb.Table(columns=[])
    empty.add_column("a", [1, 2])
    assert empty.data == [[1], [2]]


class DataFrame:
    """As much of a DataFrame as a table asks for."""

    columns = ("a", "b")

    def itertuples(self, index=True, name=""):
        assert (index, name) == (False, None)
        return iter([(1, "x"), (2, "y")])


def test_dataframe_is_a_table():
    for table in (wandb.Table(dataframe=DataFrame()), wandb.Table(data=DataFrame())):
        assert table.columns == ["a", "b"] and table.data == [[1, "x"], [2, "y"]]


# ---- what stands in the row itself


def test_histogram_stands_in_the_row(run):
    row, files = logged(run, wandb.Histogram(np.arange(5.0), num_bins=4))
    assert row == {"_type": "histogram", "values": [1, 1, 1, 2], "bins": [0, 1, 2, 3, 4]} and files == {}
    assert wandb.Histogram([1, 2, np.nan, 5, np.inf], num_bins=3).histogram == [2, 0, 1]
    assert wandb.Histogram(np_histogram=([1, 2], [0, 1, 2])).bins == [0, 1, 2]
    for bad in ({}, {"np_histogram": ([1], [1])}, {"sequence": [1], "num_bins": 513}):
        with pytest.raises(rewind.ArgumentError):
            wandb.Histogram(**bad)


# ---- files


def test_sound_of_an_array_is_a_wav_file(run):
    row, files = logged(run, wandb.Audio(np.array([[0.0, 1.0], [-1.0, 2.0]]), sample_rate=8000, caption="z"))
    assert without_hashes(row) == {"_type": "audio-file", "caption": "z"} and row["path"].endswith(".wav")
    with wave.open(io.BytesIO(files[row["path"]])) as sound:
        assert sound.getparams()[:4] == (2, 2, 8000, 2)
        assert np.frombuffer(sound.readframes(2), "<i2").tolist() == [0, 32767, -32767, 32767]
    row, _ = logged(run, [wandb.Audio(np.zeros(3), 8000), wandb.Audio(np.zeros(4), 8000, "b")])
    assert (row["_type"], row["count"], row["captions"]) == ("audio", 2, [None, "b"])
    with pytest.raises(rewind.ArgumentError, match="sample_rate"):
        wandb.Audio(np.zeros(3))


def test_files_of_all_kinds_are_kept_as_they_are(run, tmp_path):
    for name, kind, folder in (
        ("a.mp4", wandb.Video, "videos"), ("a.gif", wandb.Video, "videos"), ("a.flac", wandb.Audio, "audio"),
        ("a.html", wandb.Html, "html"), ("a.glb", wandb.Object3D, "object3D"), ("a.pdb", wandb.Molecule, "molecule"),
    ):  # fmt: skip
        (tmp_path / name).write_text(name)
        row, files = logged(run, kind(str(tmp_path / name)))
        assert row["path"].startswith(f"media/{folder}/x") and row["path"].endswith(name[1:])
        assert files == {row["path"]: name.encode()}
    with open(tmp_path / "a.obj", "w+") as stream:
        stream.write("v 0 0 0")
        stream.flush()
        row, files = logged(run, wandb.Object3D(stream))
    assert row["_type"] == "object3D-file" and files == {row["path"]: b"v 0 0 0"}
    for kind in (wandb.Video, wandb.Object3D, wandb.Molecule):
        with pytest.raises(rewind.ArgumentError, match="a file whose name ends in"):
            kind(__file__)


def test_html_is_text_or_a_stream_and_kept_unchanged(run):
    for given in ("<p>hi", io.StringIO("<p>hi"), b"<p>hi"):
        row, files = logged(run, wandb.Html(given))
        assert without_hashes(row) == {"_type": "html-file"} and files == {row["path"]: b"<p>hi"}
    row, _ = logged(run, [wandb.Html("a"), wandb.Html("b")])
    assert (row["_type"], row["count"], [one["_type"] for one in row["html"]]) == ("html", 2, ["html-file"] * 2)


def test_cloud_of_points_is_json(run):
    row, files = logged(run, wandb.Object3D(np.zeros((2, 3))))
    assert row["path"].endswith(".pts.json") and json.loads(files[row["path"]]) == [[0, 0, 0], [0, 0, 0]]
    cloud = wandb.Object3D.from_point_cloud(np.zeros((1, 4)), [{"corners": np.zeros((8, 3)), "label": "box"}])
    found = json.loads(cloud.bytes())
    assert (found["type"], found["points"], found["boxes"][0]["label"]) == ("lidar/beta", [[0, 0, 0, 0]], "box")
    with pytest.raises(rewind.ArgumentError, match=r"\(n, 3\)"):
        wandb.Object3D.from_numpy(np.zeros((2, 5)))


def test_video_of_an_array_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(rewind.ArgumentError, match="without Pillow .* no gif can be made of one"):
        wandb.Video(np.zeros((2, 3, 4, 5), np.uint8))
    monkeypatch.setitem(sys.modules, "imageio", None)
    with pytest.raises(rewind.ArgumentError, match="without imageio .* no mp4"):
        wandb.Video(np.zeros((2, 3, 4, 5), np.uint8), format="mp4")
    with pytest.raises(rewind.ArgumentError, match="shape"):
        wandb.Video(np.zeros((2, 4, 5)))


# ---- figures


def test_figures_and_tables_of_other_libraries_are_logged_as_they_are(run, monkeypatch):
    monkeypatch.setattr(sys.modules["rewind.tracker.media"], "CONVERTERS", [converted])
    png = wandb.Image(np.zeros((2, 3), np.uint8)).bytes()

    class Figure:
        def savefig(self, out, format):
            assert format == "png"
            out.write(png)

    class Axes:
        figure = Figure()

    class Chart:
        def to_json(self):
            return '{"data": []}'

    for kind, library in ((Figure, "matplotlib.figure"), (Axes, "matplotlib.axes"), (Chart, "plotly.graph_objs")):
        monkeypatch.setattr(kind, "__module__", library)
    pyplot = types.ModuleType("matplotlib.pyplot")
    pyplot.gcf = Figure
    for figure in (Figure(), Axes(), pyplot):
        row, files = logged(run, figure)
        assert (row["_type"], row["width"], list(files.values())) == ("image-file", 3, [png])
    assert logged(run, [Figure(), Figure()])[0]["count"] == 2
    row, files = logged(run, Chart())
    assert row["_type"] == "plotly-file" and files == {row["path"]: b'{"data": []}'}
    monkeypatch.setattr(DataFrame, "__module__", "pandas.core.frame")
    assert logged(run, DataFrame())[0]["nrows"] == 2


def test_figures_are_taken_from_the_first_call_of_rewind_wandb_on():
    register()
    register()
    assert CONVERTERS.count(converted) == 1 and callable(rewind.wandb.log)


def test_media_survive_a_rewind_with_their_files(tmp_path):
    with rewind.init(id="k", dir=tmp_path) as run:
        for i in range(4):
            run.log({"image": wandb.Image(np.full((2, 2), i, np.uint8)), "table": wandb.Table(["i"], [[i]])})
    with rewind.init(dir=tmp_path, resume_from="k?_step=1") as again:
        assert [one.step for one in again.media] == [0, 0, 1, 1]
        paths = {one.path for one in again.media}
        assert {row["image"]["path"] for row in again.history()} < paths
    assert len(rewind.Tracker(tmp_path).run("k@1").media) == 8 and rewind.Tracker(tmp_path).fsck().ok
