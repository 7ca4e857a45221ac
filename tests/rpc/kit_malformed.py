"""Malformed calls without end, made from the OpenRPC document."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from ckb_node.rpc.openrpc import document
from tests.rpc.kit_docs import METHODS

SPEC = json.loads(document(METHODS, "0"))
MINES = "generate_epochs"
"""It mines for as long as it is told to: what is random here would be the time."""
SPEC["methods"] = [method for method in SPEC["methods"] if method["name"] != MINES]
SCHEMAS = SPEC["components"]["schemas"]
DEEP = 10_000

TEXTS = (
    "", "0x", "0x0", "0x00", "0x01", "0xg", "0X1", "1", "-0x1", "0x" + "f" * 16, "0x1" + "0" * 16, "0x" + "0" * 64,
    "0x" + "ab" * 32, "0x" + "ab" * 33, "\x00", "\ud800", "💥" * 40, "x" * 70_000, "null", "data", "data1", "dep_group",
)  # fmt: skip
NUMBERS = ("0", "-0", "1", "-1", "1.5", "1e5", "1e309", "1e999999999", "9" * 400, "-" + "9" * 5000, "0x1", "01", "NaN")
CONSTANTS = ("null", "true", "false", "[]", "{}", "[[]]", '{"":0}', "Infinity", "undefined", "")


class Malformer:
    """From a seed. Each call is bytes that may be no JSON at all."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def calls(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            method = self._random.choice(SPEC["methods"])
            yield self._spoiled(self._call(method))

    def _call(self, method: dict[str, Any]) -> str:
        params = [self._value(param["schema"], 0) for param in method["params"]]
        return self._request(json.dumps(method["name"]), self._arranged(method, params))

    def _arranged(self, method: dict[str, Any], params: list[str]) -> str:
        """An array or an object, with too few, too many, or twice the same."""
        pick = self._random.random()
        if pick < 0.1:
            params = params[: self._random.randrange(len(params) + 1)]
        elif pick < 0.2:
            params = [*params, self._junk(), self._junk()]
        if self._random.random() < 0.75:
            return f"[{','.join(params)}]"
        names = [param["name"] for param in method["params"]]
        members = [f"{json.dumps(name)}:{value}" for name, value in zip(names, params, strict=False)]
        if self._random.random() < 0.3:
            members += members
        if self._random.random() < 0.3:
            members.append(f"{json.dumps(self._random.choice(TEXTS))}:{self._junk()}")
        return f"{{{','.join(members)}}}"

    def _request(self, method: str, params: str) -> str:
        members = ['"jsonrpc":"2.0"', f'"id":{self._identity()}', f'"method":{method}', f'"params":{params}']
        pick = self._random.random()
        if pick < 0.05:
            members.pop(self._random.randrange(4))
        elif pick < 0.1:
            members.append(self._random.choice(members))
        elif pick < 0.15:
            members[self._random.randrange(3)] = f'"{self._random.choice(("id", "method", "jsonrpc"))}":{self._junk()}'
        self._random.shuffle(members)
        return f"{{{','.join(members)}}}"

    def _identity(self) -> str:
        return self._random.choice(("1", "0", "-5", '"a"', "null", str(1 << 63), str(1 << 64), "1.0", "[]"))

    def _value(self, schema: dict[str, Any], depth: int) -> str:
        """A value that fits in most places."""
        if self._random.random() < 0.08:
            return self._junk()
        if "$ref" in schema:
            schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
        if "anyOf" in schema:
            return self._value(self._random.choice(schema["anyOf"]), depth)
        if "enum" in schema:
            return json.dumps(self._random.choice([*schema["enum"], "none of them"]))
        return self._of_type(schema, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> str:
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            items = schema.get("items") or schema.get("prefixItems", [{"type": "string"}])[0]
            length = self._random.choice((0, 1, 1, 2, 5)) if depth < 6 else 0
            return f"[{','.join(self._value(items, depth + 1) for _ in range(length))}]"
        if kind == "string":
            return json.dumps(self._random.choice(TEXTS))
        if kind in ("integer", "number"):
            return self._random.choice(NUMBERS)
        return self._random.choice(CONSTANTS)

    def _object(self, schema: dict[str, Any], depth: int) -> str:
        members = []
        for name, member in schema.get("properties", {}).items():
            if self._random.random() < 0.97:
                members.append(f"{json.dumps(name)}:{self._value(member, depth + 1)}")
        if members and self._random.random() < 0.05:
            members.append(self._random.choice(members))
        if self._random.random() < 0.05:
            members.append(f'"surplus":{self._junk()}')
        return f"{{{','.join(members)}}}"

    def _junk(self) -> str:
        pick = self._random.random()
        if pick < 0.01:
            return "[" * DEEP + "]" * DEEP
        if pick < 0.02:
            return '{"a":' * DEEP + "1" + "}" * DEEP
        if pick < 0.03:
            return "[" * DEEP
        kinds = ([json.dumps(text) for text in TEXTS], NUMBERS, CONSTANTS)
        return self._random.choice(self._random.choice(kinds))

    def _spoiled(self, text: str) -> bytes:
        """As bytes: most as they are, some cut, changed or joined to a batch."""
        data = text.encode("utf-8", "surrogatepass")
        pick = self._random.random()
        if pick < 0.05:
            return data[: self._random.randrange(len(data))]
        if pick < 0.1:
            place = self._random.randrange(len(data))
            return data[:place] + bytes([self._random.randrange(256)]) + data[place + 1 :]
        if pick < 0.15:
            return b"[" + b",".join([data] * self._random.randrange(1, 4)) + b"]"
        return data
