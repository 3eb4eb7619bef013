"""Evaluate the Condition block of a policy statement.

Source for every rule: IAM user guide, "IAM JSON policy elements: Condition operators" and "Single-valued vs.
multivalued context keys".
"""

from __future__ import annotations

import base64
import ipaddress
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

Context = Mapping[str, tuple[str, ...]]
Test = Callable[[str, str], bool]

_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


@lru_cache(maxsize=65536)
def glob(pattern: str) -> re.Pattern[str]:
    """Compile an IAM wildcard pattern."""
    return re.compile("".join(_GLOB.get(char, re.escape(char)) for char in pattern) + r"\Z", re.DOTALL)


_GLOB = {"*": ".*", "?": "."}


def substitute(text: str, context: Context) -> str:
    """Replace policy variables such as ${aws:userid}; an unknown one stays and matches nothing real."""
    if "${" not in text:
        return text

    def value_of(match: re.Match[str]) -> str:
        name, _, default = match.group(1).partition(",")
        if name in _LITERALS:
            return _LITERALS[name]
        values = context.get(name.strip().lower())
        return values[0] if values else default.strip().strip("'") or match.group(0)

    return _VARIABLE.sub(value_of, text)


def conditions_hold(block: Mapping[str, Mapping[str, tuple[str, ...]]], context: Context) -> bool:
    """Tell whether all conditions of a statement are met."""
    return all(
        _condition_holds(name, key, expected, context)
        for name, keys in block.items()
        for key, expected in keys.items()
    )


def _condition_holds(name: str, key: str, expected: tuple[str, ...], context: Context) -> bool:
    quantifier, _, plain = name.rpartition(":")
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    actual = context.get(key.lower())
    if plain == "Null":
        return any((actual is None) == (value.lower() == "true") for value in expected)
    negated, test = _operator(plain)
    if actual is None:
        return if_exists or negated or quantifier == "ForAllValues"
    wanted = tuple(substitute(value, context) for value in expected)
    holds = [any(test(value, pattern) for pattern in wanted) != negated for value in actual]
    every = quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue")
    return all(holds) if every else any(holds)


def _operator(name: str) -> tuple[bool, Test]:
    test = _TESTS.get(name)
    if test is not None:
        return False, test
    return True, _TESTS[_NEGATIONS[name]] if name in _NEGATIONS else _never


def known_operator(name: str) -> bool:
    """Tell whether AWS knows this condition operator."""
    plain = name.rpartition(":")[2].removesuffix("IfExists")
    return plain == "Null" or plain in _TESTS or plain in _NEGATIONS


def _never(_value: str, _pattern: str) -> bool:
    return False


def _like(value: str, pattern: str) -> bool:
    return glob(pattern).match(value) is not None


def _equals_ignoring_case(value: str, pattern: str) -> bool:
    return value.lower() == pattern.lower()


def _arn_like(value: str, pattern: str) -> bool:
    """Match each of the six colon-delimited parts on its own, as ArnLike and ArnEquals do."""
    values, patterns = value.split(":", 5), pattern.split(":", 5)
    return len(values) == len(patterns) and all(map(_like, values, patterns))


def _in_network(value: str, pattern: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False


def _same_bytes(value: str, pattern: str) -> bool:
    return base64.b64decode(value) == base64.b64decode(pattern)


def _number_test(compare: Callable[[float, float], bool]) -> Test:
    def test(value: str, pattern: str) -> bool:
        try:
            return compare(float(value), float(pattern))
        except ValueError:
            return False

    return test


def _date_test(compare: Callable[[float, float], bool]) -> Test:
    def test(value: str, pattern: str) -> bool:
        try:
            return compare(_timestamp(value), _timestamp(pattern))
        except ValueError:
            return False

    return test


def _timestamp(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_TESTS: Mapping[str, Test] = {
    "StringEquals": operator.eq,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _equals_ignoring_case,
    "BinaryEquals": _same_bytes,
    "IpAddress": _in_network,
    "NumericEquals": _number_test(operator.eq),
    "NumericLessThan": _number_test(operator.lt),
    "NumericLessThanEquals": _number_test(operator.le),
    "NumericGreaterThan": _number_test(operator.gt),
    "NumericGreaterThanEquals": _number_test(operator.ge),
    "DateEquals": _date_test(operator.eq),
    "DateLessThan": _date_test(operator.lt),
    "DateLessThanEquals": _date_test(operator.le),
    "DateGreaterThan": _date_test(operator.gt),
    "DateGreaterThanEquals": _date_test(operator.ge),
}
_NEGATIONS: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
