"""JSON by orjson: times as RFC 3339 in UTC with Z, and never NaN."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from flask.json.provider import JSONProvider


class OrjsonProvider(JSONProvider):
    """What `jsonify` and the dictionaries that handlers return go through."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """The JSON text of an object."""
        return orjson.dumps(obj, option=orjson.OPT_UTC_Z).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """The object of a JSON text."""
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """A response with the arguments as JSON."""
        body = self._prepare_response_obj(args, kwargs)
        return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), content_type="application/json")
