"""Pieces of JSON, and of what only looks like it, that mean harm."""

import json

_DEEP = 3_000
NEVER_JSON = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a lone surrogate": '"\\ud800"',
    "surrogates the wrong way round": '"\\udc00\\ud800"',
    "5,000 digits": "9" * 5_000,
    "deep lists": "[" * _DEEP + "]" * _DEEP,
    "deep objects": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "a raw NUL": '"\x00"',
    "a raw newline": '"\n"',
    "a key twice": '{"a": 1, "a": 1}',
    "a leading zero": "01",
    "hex": "0x10",
    "single quotes": "'a'",
    "a comment": "1 /* one */",
    "a name": "undefined",
}
"""What no JSON has in any place, whatever an operation reads there."""

ODD_JSON = {
    "1e999": "1e999",
    "-1e999": "-1e999",
    "4,000 digits": "9" * 4_000,
    "a tiny number": "1e-999",
    "minus zero": "-0",
    "a fraction": "0.1",
    "2**63": str(2**63),
    "-2**63-1": str(-(2**63) - 1),
    "NUL": '"\\u0000"',
    "NUL inside": '"a\\u0000b"',
    "a control character": '"\\u001b"',
    "an empty text": '""',
    "a space": '" "',
    "a long text": json.dumps("a" * 70_000),
    "many code points": json.dumps("\U0001f980" * 5_000),
    "going up": '"../../../etc/passwd"',
    "markup": '"<script>alert(1)</script>"',
    "SQL": '"\'; DROP TABLE models; --"',
    "null": "null",
    "true": "true",
    "a list": "[]",
    "an object": "{}",
    "lists in lists": "[" * 100 + "]" * 100,
    "an object with an odd key": '{"\\u0000": {"": null}}',
    "dunder": '{"__class__": {"__init__": 1}, "$ref": "#", "$type": "x"}',
    "a list of everything": '[null, true, 0, -1, 1e308, "x", [], {}]',
}
"""JSON that an operation may or may not take where it stands."""
