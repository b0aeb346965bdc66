"""`Image`: a picture, of a file, an array, a tensor, a figure, or what Pillow has; with boxes and masks on it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError, ArgumentTypeError
from ...tracker.media import Keep
from ...tracker.store.values import array_of
from .base import FileValue, caption_of, labels_of, path_of
from .png import png_of, size_in

_SUFFIXES = ("png", "jpg", "jpeg", "bmp", "gif", "webp", "tiff", "tif", "svg")
_EXPECTED = "a path, an array of shape (height, width) or (height, width, 1 to 4), a tensor, or an image of Pillow"


class Classes:
    """Names of classes: ``Classes([{"id": 0, "name": "road"}])``."""

    def __init__(self, class_set: Sequence[Mapping[str, Any]]) -> None:
        self.labels = labels_of({one["id"]: one["name"] for one in class_set})


class Image(FileValue):
    """An image.

    Parameters
    ----------
    data_or_path : path-like, array, tensor, PIL.Image.Image, matplotlib figure, or Image
        An array of shape (height, width), or with 1 to 4 channels behind; a tensor has them in front. Integers are
        taken as 0 to 255. Floats are 0 to 1; those that go beyond are spread over it first, unless ``normalize=False``.
    mode : str, optional
        Of Pillow, such as ``"L"`` or ``"RGB"``: what an image of it is made into.
    caption : str, optional
    grouping : int, optional
        Ignored.
    classes : Classes or list of dict, optional
    boxes : mapping of str to dict, optional
        ``{"predictions": {"box_data": [...], "class_labels": {0: "car"}}}``.
    masks : mapping of str to dict, optional
        ``{"truth": {"mask_data": array, "class_labels": {...}}}``; or ``"path"`` instead of ``"mask_data"``.
    file_type : str, optional
        ``"png"``, which is the default, or ``"jpg"``, ``"gif"``, ``"bmp"``, ``"webp"``, which need Pillow.
    normalize : bool
        Whether floats are spread.
    """

    file_type: ClassVar[str] = "image-file"
    kind: ClassVar[str] = "images"
    several_type: ClassVar[tuple[str, str]] = ("images/separated", "filenames")

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Classes | Sequence[Mapping[str, Any]] | None = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        self.caption = caption_of(caption)
        self._boxes = {name: _boxes_text(name, one) for name, one in (boxes or {}).items()}
        self._masks = {name: _Mask(name, one) for name, one in (masks or {}).items()}
        self._classes = None if classes is None else (classes if isinstance(classes, Classes) else Classes(classes))
        self.size: tuple[int, int] | None
        if isinstance(data_or_path, Image):
            self.content, self.suffix, self.size = data_or_path.content, data_or_path.suffix, data_or_path.size
            self.caption = data_or_path.caption if caption is None else self.caption
        elif (found := path_of(data_or_path, "data_or_path", _SUFFIXES)) is not None:
            self.content, self.suffix = found
            self.size = _size_of_file(self.content)
        else:
            kind = "png" if file_type is None else file_type.lower().lstrip(".")
            self.content, self.size = _encoded(data_or_path, mode, kind, normalize)
            self.suffix = f".{kind}"

    @property
    def format(self) -> str:
        """The kind of file, such as ``"png"``."""
        return self.suffix[1:]

    @property
    def image(self) -> Any:
        """The image as Pillow has it, if that is installed."""
        from PIL import Image as pillow  # type: ignore[import-not-found, unused-ignore]

        return pillow.open(io.BytesIO(self.bytes()))

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        """Return the object that the row gets."""
        found = {**super().facts(key, keep), "format": self.format}
        if self.size is not None:
            found["width"], found["height"] = self.size
        if self._classes is not None:
            found["classes"] = self._classes.labels
        return found | self._layers(key, keep)

    def _layers(self, key: str, keep: Keep) -> dict[str, Any]:
        layers: dict[str, Any] = {}
        if self._boxes:
            layers["boxes"] = {
                name: {"_type": "boxes2D", **keep(key, "metadata/boxes2D", text, ".boxes2D.json")}
                for name, text in self._boxes.items()
            }
        if self._masks:
            layers["masks"] = {name: mask.facts(key, keep) for name, mask in self._masks.items()}
        return layers

    @classmethod
    def several(cls, key: str, items: Sequence[Any], keep: Keep) -> dict[str, Any]:
        """Return what the row gets of a list: the paths, and what the first says of all."""
        every = [item.facts(key, keep) for item in items]
        found: dict[str, Any] = {
            "_type": "images/separated",
            "count": len(every),
            "format": every[0]["format"],
            **{name: every[0][name] for name in ("width", "height") if name in every[0]},
            "filenames": [one["path"] for one in every],
        }
        for name, plural in (("caption", "captions"), ("boxes", "all_boxes"), ("masks", "all_masks")):
            if any(name in one for one in every):
                found[plural] = [one.get(name) for one in every]
        return {key: found}


class _Mask:
    """Numbers of classes, one per pixel."""

    def __init__(self, name: str, given: Mapping[str, Any]) -> None:
        what = f"masks[{name!r}]"
        if not isinstance(given, Mapping) or ("mask_data" in given) == ("path" in given):
            raise ArgumentTypeError(what, given, "a dict with 'mask_data' or 'path', and perhaps 'class_labels'")
        self.labels = labels_of(given["class_labels"]) if "class_labels" in given else None
        self.content: Any
        if "path" in given:
            found = path_of(given["path"], what, ("png",))
            if found is None:
                raise ArgumentTypeError(what, given["path"], "the path of a .png file")
            self.content = found[0]
        else:
            array = array_of(given["mask_data"])
            if (
                array.ndim != 2
                or array.dtype.kind not in "biuf"
                or (array.size and not 0 <= array.min() <= array.max() <= 255)
            ):
                raise ArgumentError(what, given["mask_data"], "an array of shape (height, width) of numbers 0 to 255")
            self.content = png_of(array.astype(np.uint8)[..., None])

    def facts(self, key: str, keep: Keep) -> dict[str, Any]:
        found = {"_type": "mask", **keep(key, "images/mask", self.content, ".mask.png")}
        return found if self.labels is None else {**found, "class_labels": self.labels}


def _boxes_text(name: str, given: Any) -> bytes:
    if not isinstance(given, Mapping) or not isinstance(given.get("box_data"), (list, tuple)):
        raise ArgumentTypeError(f"boxes[{name!r}]", given, "a dict with a list as 'box_data'")
    boxes: dict[str, Any] = {"box_data": given["box_data"]}
    if "class_labels" in given:
        boxes["class_labels"] = labels_of(given["class_labels"])
    return json.dumps(boxes, default=_plain).encode()


def _plain(value: Any) -> Any:
    try:
        return array_of(value).tolist()
    except Exception:
        return str(value)


# ---- pixels


def _size_of_file(path: Any) -> tuple[int, int] | None:
    with open(path, "rb") as file:
        found = size_in(file.read(64))
    if found is not None:
        return found
    try:
        from PIL import Image as pillow

        with pillow.open(path) as image:
            return int(image.size[0]), int(image.size[1])
    except Exception:  # it is not installed, or does not know the file
        return None


def _encoded(value: Any, mode: str | None, kind: str, normalize: bool) -> tuple[bytes, tuple[int, int] | None]:
    """Return the bytes of an image file, width and height."""
    if is_figure(value):
        content = figure_content(value, kind)
        return content, size_in(content)
    loaded: Any = sys.modules.get("PIL.Image")  # who has an image of it has imported it
    image: Any
    if loaded is not None and isinstance(value, loaded.Image):
        image = value
    else:
        pixels = pixels_of(value, normalize)
        if kind == "png" and mode is None:
            return png_of(pixels), (pixels.shape[1], pixels.shape[0])
        try:
            from PIL import Image as pillow
        except ImportError:
            what = f"mode={mode!r}" if mode is not None else f"file_type={kind!r}"
            advice = f"With {what} it is Pillow that writes it: pip install pillow"
            raise ArgumentError("file_type", kind, "'png', where Pillow is not installed", advice) from None
        image = pillow.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if mode is not None:
        image = image.convert(mode)
    out = io.BytesIO()
    image.save(out, format={"jpg": "jpeg", "tif": "tiff"}.get(kind, kind))
    return out.getvalue(), (int(image.size[0]), int(image.size[1]))


def pixels_of(value: Any, normalize: bool) -> np.ndarray[Any, Any]:
    """Return the pixels of an array or a tensor: uint8, shape (height, width, 1 to 4)."""
    tensor = hasattr(value, "detach") and not isinstance(value, np.ndarray)
    array: np.ndarray[Any, Any]
    try:
        array = array_of(value)
    except Exception:
        raise ArgumentTypeError("data_or_path", value, _EXPECTED) from None
    if array.dtype.kind not in "biuf":
        raise ArgumentTypeError("data_or_path", value, _EXPECTED)
    if tensor and array.ndim == 3:  # channels first
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or not array.size:
        raise ArgumentError("data_or_path", f"an array of shape {array.shape}", _EXPECTED)
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        array = array * 255
    if normalize and array.dtype.kind == "f":
        array = _spread(array)
    pixels: np.ndarray[Any, Any] = np.clip(np.nan_to_num(array), 0, 255).astype(np.uint8)
    return pixels


def _spread(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if low < 0:
        array = (array - low) / ((high - low) or 1.0)
        high = 1.0
    return array * 255.0 if high <= 1.0 else array


# ---- figures


def is_figure(value: Any) -> bool:
    """Whether it is a figure of matplotlib, something drawn on one, or ``pyplot`` itself. Imports nothing."""
    name = getattr(value, "__name__", "")
    return name == "matplotlib.pyplot" or type(value).__module__.startswith("matplotlib.")


def figure_content(value: Any, kind: str = "png") -> bytes:
    """Return a figure as a file."""
    figure = value.gcf() if hasattr(value, "gcf") else value
    figure = figure if hasattr(figure, "savefig") else getattr(figure, "figure", None)
    if figure is None:
        raise ArgumentTypeError("data_or_path", value, "a figure of matplotlib, or something drawn on one")
    out = io.BytesIO()
    figure.savefig(out, format=kind)
    return out.getvalue()
