"""Pictures of executed notebooks, small enough to be committed: what the eye does not miss is left out."""

import base64
import io

import nbformat
from PIL import Image

QUALITY = 80  # of JPEG
PHOTOGRAPH = 1.2  # a palette that makes the picture this many times as large as JPEG belongs to a photograph


def shrink(notebook: nbformat.NotebookNode) -> None:
    """Give every PNG picture of a notebook a palette of 256 colours, or, of photographs, make it JPEG."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                kind, data = smaller(base64.b64decode(output.data.pop("image/png")))
                output.data[kind] = base64.b64encode(data).decode()


def smaller(png: bytes) -> tuple[str, bytes]:
    """MIME type and bytes of a picture that shows the same in less; the PNG itself where there is none."""
    with Image.open(io.BytesIO(png)) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    palette, photograph = io.BytesIO(), io.BytesIO()
    flat.quantize(256, dither=Image.Dither.NONE).save(palette, "PNG", optimize=True)
    flat.save(photograph, "JPEG", quality=QUALITY)
    if palette.tell() > PHOTOGRAPH * photograph.tell():
        return "image/jpeg", photograph.getvalue()
    return "image/png", min(png, palette.getvalue(), key=len)
