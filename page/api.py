"""The page's HTTP API: a picture in base64 in, digits out, in the form of `paddlex --serve`.

Source: PaddleX 3, "PaddleX Serving Guide", basic serving of the pipelines image_classification and OCR. Gradio's own
`gr.api` cannot have that form: it takes and gives {"data": [...]}.
"""

from __future__ import annotations

import base64
from typing import Any, Literal
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from common.errors import UserError, one_line
from page.reader import Reader
from recognition.row_answers import page_of

HEALTH, DIGIT, ROWS = "/health", "/image-classification", "/ocr"
TOP = 3  # digits in an answer, as infer.py gives them


class DigitCall(BaseModel):
    """A picture of one digit, in base64, and the number of digits wanted."""

    image: str
    topk: int | None = Field(None, gt=0)


class RowsCall(BaseModel):
    """A picture with rows of digits, in base64; 1 is PaddleX's number of the type picture."""

    file: str
    fileType: Literal[1, None] = None  # noqa: N815  PaddleX's name


def no_result(code: int, message: str) -> dict[str, Any]:
    """Answer without a result; `code` is 0, or the HTTP status."""
    return {"logId": str(uuid4()), "errorCode": code, "errorMsg": message}


def api_app(reader: Reader) -> FastAPI:
    """The API as an ASGI app; a refused picture or call is status 422, with the reason in one line."""
    app = FastAPI(openapi_url=None)
    app.get(HEALTH)(lambda: no_result(0, "Healthy"))

    @app.post(DIGIT)
    def read_digit(call: DigitCall) -> dict[str, Any]:
        return {**no_result(0, "Success"), "result": _digit(reader, _decoded(call.image), call.topk or TOP)}

    @app.post(ROWS)
    def read_rows(call: RowsCall) -> dict[str, Any]:
        return {**no_result(0, "Success"), "result": _rows(reader, _decoded(call.file))}

    @app.exception_handler(UserError)
    def unread(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse(no_result(422, one_line(error)), 422)

    @app.exception_handler(RequestValidationError)
    def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))  # as in body.image
        return JSONResponse(no_result(422, one_line(f"{where}: {first['msg']}", 300)), 422)

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(no_result(error.status_code, one_line(error.detail)), error.status_code)

    return app


def _digit(reader: Reader, picture: bytes, top: int) -> dict[str, Any]:
    cuts = reader.cuts(picture)
    labels, answer = reader.with_first(lambda digits: (digits.labels, digits.read(["picture"], [cuts])[0]))
    categories = [
        {"id": labels.index(digit), "name": digit, "score": round(probability, 6)}
        for digit, probability in answer.digits[:top]
    ]
    return {"categories": categories, "noDigit": answer.no_digit, "several": answer.several}


def _rows(reader: Reader, picture: bytes) -> dict[str, Any]:
    found = reader.rows(picture)
    page = reader.with_first(lambda digits: page_of("picture", found, digits, reader.row_reader()))
    boxes = [line.box for line in page.rows]
    read = {
        "rec_texts": [line.text for line in page.rows],
        "rec_scores": [round(line.probability, 6) for line in page.rows],
        "rec_boxes": [[left, top, left + width, top + height] for left, top, width, height in boxes],
        "no_digit": [line.no_digit for line in page.rows],
    }
    width, height = found.own_size
    size = {"width": width, "height": height, "type": "image"}
    return {"ocrResults": [{"prunedResult": read}], "dataInfo": size}


def _decoded(picture: str) -> bytes:
    try:
        return base64.b64decode(picture, validate=True)
    except ValueError as error:  # binascii's, and that of characters beyond ASCII
        raise UserError("expected a picture in base64, got other characters; an address is not fetched") from error
