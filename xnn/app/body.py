"""The image in a request: the body itself, or the one file of a form."""

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

RAW = ("image/png", "image/jpeg", "application/dicom", "application/octet-stream")
FORM = "multipart/form-data"
_binary = {"type": "string", "format": "binary", "minLength": 1}
# what the API's schema says of it
SCHEMA = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "properties": {"file": _binary},
                "required": ["file"],
                "additionalProperties": False,
            }
        },
        **{kind: {"schema": _binary} for kind in RAW[:2]},
    },
}


async def image(request: Request) -> bytes:
    """The bytes of the image; raise HTTPException 415 or 422 where there is none."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == FORM:
        return await _of_form(request)
    if kind in RAW:
        return await request.body()
    raise HTTPException(415, f"send the image as {FORM} with one file, or as {RAW[0]} or {RAW[1]}")


async def _of_form(request):
    async with request.form(max_files=1, max_fields=1) as form:
        found = form.get("file")
        if len(form) != 1 or not isinstance(found, UploadFile):
            raise HTTPException(422, "the form has to hold one file, named file, and nothing else")
        return await found.read()


def preferred(accept: str, offered: tuple[str, ...]) -> str | None:
    """Which of the offered media types an Accept header wants most; None where it wants none of them."""
    ranked = []
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        found = [i for i, each in enumerate(offered) if _matches(name, each)]
        ranked += [(-_quality(parameters), name.count("*"), i) for i in found]
    wanted = [each for each in ranked if each[0] < 0]
    return offered[min(wanted)[2]] if wanted else None


def _matches(pattern, name):
    return pattern in (name, "*/*", f"{name.split('/')[0]}/*")


def _quality(parameters):
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
