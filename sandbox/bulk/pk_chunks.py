"""PK chunking: one query batch becomes many, each for a range of record ids (Bulk API guide, "PK Chunking")."""

from __future__ import annotations

import re

from sandbox.bulk.staging import InvalidBatch
from sandbox.rows.rules import literal, name
from sandbox.schema import ObjectType
from sandbox.store import Store

DEFAULT_SIZE = 100_000
MAX_SIZE = 250_000
_WORDS = re.compile(r"'(?:\\.|[^'\\])*'|[()]|[A-Za-z_]\w*", re.DOTALL)
_AFTER_WHERE = frozenset({"WITH", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "ALL"})
_REFUSED = frozenset({"ORDER", "LIMIT", "GROUP"})


def chunk_size(header: str | None) -> int | None:
    """The records per batch that a Sforce-Enable-PKChunking header asks for; None for no chunking.

    Raises ValueError for a header that cannot be.
    """
    if header is None or header.strip().lower() in ("", "false"):
        return None
    size = DEFAULT_SIZE
    for part in header.split(";"):
        key, equals, value = part.strip().partition("=")
        key = key.strip().lower()
        if key == "chunksize" and value.strip().isdecimal() and 0 < int(value) <= MAX_SIZE:
            size = int(value)
        elif key in ("parent", "startrow") and equals or key in ("true", "") and not equals:
            continue
        else:
            raise ValueError(f"Sforce-Enable-PKChunking: cannot use {part.strip()!r}")
    return size


def chunk_queries(store: Store, target: ObjectType, text: str, size: int) -> list[str]:
    """The query for each range of record ids: `size` records of the table per range, whatever the query selects.

    Raises InvalidBatch for clauses that chunks cannot have.
    """
    sql = f"SELECT Id FROM (SELECT Id, row_number() OVER (ORDER BY Id) - 1 AS n FROM {name(target.name)})"
    starts = [row[0] for row in store.rows(f"{sql} WHERE n % {int(size)} = 0 ORDER BY Id")]
    queries = []
    for place, first in enumerate(starts or [None]):
        conditions = [f"Id >= {literal(first)}"] if place and first else []
        if place + 1 < len(starts):
            conditions.append(f"Id < {literal(starts[place + 1])}")
        queries.append(_with_condition(text, " AND ".join(conditions)) if conditions else text)
    return queries


def _with_condition(text: str, condition: str) -> str:
    """A SOQL query with one more condition."""
    depth, where, end = 0, None, len(text)
    for found in _WORDS.finditer(text):
        word = found[0].upper()
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth or word in "()":
            continue
        if word in _REFUSED:
            raise InvalidBatch(f"InvalidBatch : PK chunking does not support {word} in a query")
        if word == "WHERE":
            where = found
        elif word in _AFTER_WHERE:
            end = found.start()
            break
    head, tail = text[:end].rstrip(), text[end:]
    if where is None:
        return f"{head} WHERE {condition} {tail}".rstrip()
    return f"{head[: where.end()]} ({head[where.end() :].strip()}) AND {condition} {tail}".rstrip()
