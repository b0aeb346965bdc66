"""Values that are one file: `Audio`, `Video`, `Html`, `Object3D` and `Molecule`."""

from __future__ import annotations

import io
import json
import os
import wave
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...tracker.media import Keep
from ...tracker.store.values import array_of
from .base import Content, FileValue, caption_of, path_of, stream_content


class Audio(FileValue):
    """A sound.

    Parameters
    ----------
    data_or_path : path-like or array
        An array of shape (n,) or (n, channels): floats from -1 to 1, or int16. It becomes a WAV file of 16 bits.
    sample_rate : int, optional
        Values per second; needed for an array.
    caption : str, optional
    """

    file_type: ClassVar[str] = "audio-file"
    kind: ClassVar[str] = "audio"
    several_type: ClassVar[tuple[str, str]] = ("audio", "audio")

    def __init__(self, data_or_path: Any, sample_rate: int | None = None, caption: str | None = None) -> None:
        self.caption = caption_of(caption)
        found = path_of(data_or_path, "data_or_path")
        if found is not None:
            self.content, self.suffix = found
            return
        if sample_rate is None:
            raise ArgumentError("sample_rate", None, "values per second, such as 44100, for an array")
        self.content, self.suffix = _wav(data_or_path, int(sample_rate)), ".wav"

    @classmethod
    def several(cls, key: str, items: Sequence[Any], keep: Keep) -> dict[str, Any]:
        """Return what the row gets of a list."""
        ((_, found),) = super().several(key, items, keep).items()
        if any(item.caption for item in items):
            found["captions"] = [item.caption for item in items]
        return {key: found}


def _wav(data: Any, rate: int) -> bytes:
    try:
        array = array_of(data)
    except Exception:
        raise ArgumentTypeError("data_or_path", data, "a path, or an array of numbers") from None
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise ArgumentError("data_or_path", f"an array of shape {array.shape}", "shape (n,) or (n, channels), numbers")
    if array.dtype.kind == "f":
        array = np.round(np.clip(np.nan_to_num(array), -1.0, 1.0) * 32767.0)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1 if array.ndim == 1 else array.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.clip(array, -32768, 32767).astype("<i2").tobytes())
    return out.getvalue()


class Video(FileValue):
    """A video.

    Parameters
    ----------
    data_or_path : path-like, stream, array or tensor
        An array of shape (frames, channels, height, width), or with several videos in front, which stand side by side.
    caption : str, optional
    fps : int, optional
        Frames per second of an array. Default 4.
    format : {"gif", "mp4", "webm", "ogg"}, optional
        Of a stream or an array: ``"gif"``, which is the default, needs Pillow, and the others imageio.
    """

    file_type: ClassVar[str] = "video-file"
    kind: ClassVar[str] = "videos"
    several_type: ClassVar[tuple[str, str]] = ("videos", "videos")
    _FORMATS = ("gif", "mp4", "webm", "ogg")

    def __init__(
        self, data_or_path: Any, caption: str | None = None, fps: int | None = None, format: str | None = None
    ) -> None:
        self.caption = caption_of(caption)
        kind = "gif" if format is None else format
        if kind not in self._FORMATS:
            raise ArgumentError("format", format, f"one of {', '.join(self._FORMATS)}")
        self.size: tuple[int, int] | None = None
        found = path_of(data_or_path, "data_or_path", self._FORMATS)
        if found is not None:
            self.content, self.suffix = found
            return
        self.suffix = f".{kind}"
        if hasattr(data_or_path, "read"):
            self.content = stream_content(data_or_path)
            return
        frames = _frames(data_or_path)
        self.size = frames.shape[2], frames.shape[1]
        self.content = _encoded(frames, kind, 4 if fps is None else fps)

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets."""
        found = super().facts(key, keep)
        return found if self.size is None else {**found, "width": self.size[0], "height": self.size[1]}


def _frames(data: Any) -> np.ndarray[Any, Any]:
    """Return frames as uint8, shape (n, height, width, 3)."""
    expected = "shape (frames, channels, height, width), with 1, 3 or 4 channels"
    try:
        array = array_of(data)
    except Exception:
        raise ArgumentTypeError("data_or_path", data, "a path, or an array of numbers") from None
    if array.ndim not in (4, 5) or array.shape[-3] not in (1, 3, 4) or not array.size:
        raise ArgumentError("data_or_path", f"an array of shape {array.shape}", expected)
    if array.ndim == 5:
        array = np.concatenate(list(array), axis=-1)
    if array.dtype.kind == "f":
        array = array * 255.0 if float(np.nanmax(array)) <= 1.0 else array
    array = np.clip(np.nan_to_num(array), 0, 255).astype(np.uint8)
    array = np.moveaxis(array, 1, -1)
    return np.repeat(array, 3, axis=-1) if array.shape[-1] == 1 else array[..., :3]


def _encoded(frames: np.ndarray[Any, Any], kind: str, fps: float) -> bytes:
    out = io.BytesIO()
    try:
        if kind == "gif":
            from PIL import Image as pillow  # type: ignore[import-not-found, unused-ignore]

            first, *rest = [pillow.fromarray(frame) for frame in frames]
            first.save(out, format="gif", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
        else:
            import imageio  # type: ignore[import-not-found, unused-ignore]

            imageio.mimwrite(out, list(frames), format=kind, fps=fps)
    except ImportError:
        what = "Pillow (pip install pillow)" if kind == "gif" else "imageio (pip install imageio imageio-ffmpeg)"
        raise ArgumentError(
            "data_or_path", "an array", f"a path: without {what} no {kind} can be made of one"
        ) from None
    return out.getvalue()


class Html(FileValue):
    """A page.

    Parameters
    ----------
    data : str, path-like or stream
        HTML, or the path of a file ``*.html``.
    inject : bool
        Ignored: the page is kept as it is.
    data_is_not_path : bool
        Whether text is HTML, even if there is a file of that name.
    """

    file_type: ClassVar[str] = "html-file"
    kind: ClassVar[str] = "html"
    several_type: ClassVar[tuple[str, str]] = ("html", "html")
    suffix = ".html"

    def __init__(self, data: Any, inject: bool = True, data_is_not_path: bool = False) -> None:
        if hasattr(data, "read"):
            self.content = stream_content(data)
        elif isinstance(data, os.PathLike) or (isinstance(data, str) and not data_is_not_path and _is_file(data)):
            found = path_of(data, "data", ("html", "htm"))
            assert found is not None
            self.content = found[0]
        elif isinstance(data, (str, bytes)):
            self.content = data.encode() if isinstance(data, str) else data
        else:
            raise ArgumentTypeError("data", data, "HTML, a path, or a stream")

    @property
    def html(self) -> str:
        """The text of the page."""
        return self.bytes().decode()


def _is_file(text: str) -> bool:
    try:
        return len(text) < 4096 and text.lower().endswith((".html", ".htm")) and os.path.isfile(text)
    except ValueError:  # a NUL in it
        return False


class Object3D(FileValue):
    """A body or a cloud of points in space.

    Parameters
    ----------
    data_or_path : path-like, stream, array or dict
        A file ``.obj, .gltf, .glb, .babylon, .stl`` or ``.pts.json``; an array of shape (n, 3), (n, 4) with a category,
        or (n, 6) with a colour; or a dict with ``type``, ``points``, and perhaps ``boxes`` and ``vectors``.
    caption : str, optional
    file_type : str, optional
        Of a stream without a name.
    """

    file_type: ClassVar[str] = "object3D-file"
    kind: ClassVar[str] = "object3D"
    several_type: ClassVar[tuple[str, str]] = ("object3D", "objects")
    _KINDS = ("pts.json", "obj", "gltf", "glb", "babylon", "stl")

    def __init__(self, data_or_path: Any, caption: str | None = None, **kwargs: Any) -> None:
        self.caption = caption_of(caption)
        found = path_of(data_or_path, "data_or_path", self._KINDS)
        if found is not None:
            self.content, self.suffix = found
        elif hasattr(data_or_path, "read"):
            self.content, self.suffix = _stream_of_kind(data_or_path, kwargs.get("file_type"), self._KINDS)
        else:
            self.content, self.suffix = _points(data_or_path), ".pts.json"

    @classmethod
    def from_file(cls, data_or_path: Any, file_type: str | None = None) -> Object3D:
        """Return the body that a file or a stream has."""
        return cls(data_or_path, file_type=file_type)

    @classmethod
    def from_numpy(cls, data: Any) -> Object3D:
        """Return the cloud of points of an array."""
        return cls(array_of(data))

    @classmethod
    def from_point_cloud(
        cls, points: Any, boxes: Any, vectors: Any = None, point_cloud_type: str = "lidar/beta"
    ) -> Object3D:
        """Return a cloud of points with boxes and vectors in it."""
        return cls({"type": point_cloud_type, "points": points, "boxes": boxes, "vectors": vectors or []})


class Molecule(FileValue):
    """A molecule: a file, or a stream with a ``file_type``.

    Parameters
    ----------
    data_or_path : path-like or stream
        ``.pdb, .pqr, .mmcif, .mcif, .cif, .sdf, .sd, .gro, .mol2`` or ``.mmtf``.
    caption : str, optional
    file_type : str, optional
        Of a stream without a name.
    """

    file_type: ClassVar[str] = "molecule-file"
    kind: ClassVar[str] = "molecule"
    several_type: ClassVar[tuple[str, str]] = ("molecule", "molecules")
    _KINDS = ("pdb", "pqr", "mmcif", "mcif", "cif", "sdf", "sd", "gro", "mol2", "mmtf")

    def __init__(self, data_or_path: Any, caption: str | None = None, **kwargs: Any) -> None:
        self.caption = caption_of(caption)
        found = path_of(data_or_path, "data_or_path", self._KINDS)
        if found is not None:
            self.content, self.suffix = found
        elif hasattr(data_or_path, "read"):
            self.content, self.suffix = _stream_of_kind(data_or_path, kwargs.get("file_type"), self._KINDS)
        else:
            raise ArgumentTypeError("data_or_path", data_or_path, "a path or a stream")


def _stream_of_kind(stream: Any, kind: str | None, kinds: Sequence[str]) -> tuple[Content, str]:
    name = f".{kind.lstrip('.')}" if kind is not None else str(getattr(stream, "name", ""))
    for known in kinds:
        if name.lower().endswith(f".{known}"):
            return stream_content(stream), f".{known}"
    raise ArgumentError("file_type", kind, f"one of {', '.join(kinds)}")


def _points(data: Any) -> bytes:
    if isinstance(data, Mapping):
        found: Any = {name: _list_of(part) for name, part in data.items()}
    else:
        try:
            array = array_of(data)
        except Exception:
            raise ArgumentTypeError("data_or_path", data, "a path, an array, or a dict with points") from None
        if array.ndim != 2 or array.shape[1] not in (3, 4, 6) or array.dtype.kind not in "iuf":
            raise ArgumentError("data_or_path", f"an array of shape {array.shape}", "shape (n, 3), (n, 4) or (n, 6)")
        found = array.tolist()
    return json.dumps(found, separators=(",", ":")).encode()


def _list_of(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _list_of(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_list_of(part) for part in value]
    return array_of(value).tolist() if hasattr(value, "__array__") else value
