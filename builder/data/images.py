"""Decode an image file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import DataError
from builder.specs import Data

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EXTENSIONS", "check_extension", "decode"]

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_KEPT = frozenset({"L", "RGB", "I;16", "I", "F"})


def check_extension(data: Data, path: Path) -> None:
    """Raise DataError for a file that is no image by its name."""
    if path.suffix.lower() not in EXTENSIONS:
        known = " ".join(sorted(EXTENSIONS))
        raise DataError(f"data '{data.name}': {path} is no image", hint=f"move it away; images end in {known}")


def decode(stored: bytes, path: Path) -> NDArray[Any]:
    """Return the pixels as height x width x channels (1 or 3); transparency is dropped, 16 bits are kept.

    The orientation in EXIF is not applied, as in torchvision and Keras. Raises DataError for what is no image.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(stored)) as opened:
            image: Image.Image = opened
            if image.mode == "P" and "transparency" in image.info:
                image = image.convert("RGBA")  # Pillow asks for this way
            if image.mode not in _KEPT:
                image = image.convert("L" if image.mode in {"1", "LA"} else "RGB")
            pixels = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image: {error}", hint="the file is damaged or no image"
        ) from error
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
