"""What a trimmed text becomes in Salesforce, by type of field: SQL expressions, one pair per family.

Each family has a `canonical` expression (one spelling per value; NULL when the text is no value of the family at all)
and an `encoded` expression over it (what is sent; NULL when the field cannot hold it). Both are NULL for NULL.
"""

from __future__ import annotations

from syncs.engine.families import MOST_DIGITS, Family, Line
from syncs.engine.nul import has_nul
from syncs.engine.sql import literal, literals

# In a Bulk API CSV this text sets a field to null (Bulk API 2.0 guide, "Valid CSV Record Rows").
CLEARED = "#N/A"

# Dates Salesforce can hold (SOQL and SOSL reference, "Date Formats and Date Literals").
_FIRST_YEAR, _LAST_YEAR = 1700, 4000

_ANY_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?"
_PLAIN_NUMBER = r"0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]"
# Longer texts are no number anybody means; the bound keeps the exact expansion of exponents small.
_LONGEST_NUMBER = 1000

_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?"
_NAIVE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]" + _CLOCK
_OFFSET = r" ?(?:[Zz]|UTC|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)"

# Salesforce help, "Email Address Considerations": which characters may stand left of the @, and that the domain
# consists of labels of letters, digits and hyphens, at least two of them.
_EMAIL = (
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
)

TRUE_WORDS = ("true", "1", "yes", "t", "y")
FALSE_WORDS = ("false", "0", "no", "f", "n")

_CHECK_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def canonical(family: Family, text: str, time_zone: str) -> str:
    """SQL that gives the one spelling of the value that the SQL expression `text` holds, or NULL.

    text: a column name, of a VARCHAR that is trimmed and NULL instead of empty.
    time_zone: in which a date-time without an offset is read.
    """
    match family:
        case "number":
            return _canonical_number(text)
        case "date":
            return _date(text)
        case "datetime":
            return _datetime(text, time_zone)
        case "time":
            return _time(text)
        case "boolean":
            return _boolean(text)
        case "id":
            return _id18(text)
        case "multipicklist":
            return _multipicklist(text)
        case "email":
            return f"CASE WHEN {full_match(text, _EMAIL)} THEN {text} END"
        case _:
            return text


def encoded(line: Line, value: str) -> str:
    """SQL that gives what is sent for `value`, a column with the canonical value, or NULL when it does not fit.

    Where the line allows it, a value that does not fit is made to: rounded, cut, or replaced.
    """
    if line.family == "number":
        return _fitted_number(line, value)
    if line.family not in ("text", "email", "picklist", "multipicklist"):
        return value
    can_be_sent = [f"{value} <> '{CLEARED}'", f"NOT {has_nul(value)}"]
    fitting = [fits(value, line.value_field.length)] if line.value_field.length else []
    if line.is_restricted:
        fitting.append(in_picklist(line, value))
    sent = f"WHEN {' AND '.join([*can_be_sent, *fitting])} THEN {value}"
    if line.adjustment == "truncated":
        sent += f" WHEN {' AND '.join(can_be_sent)} THEN {_truncated(line, value)}"
    elif line.adjustment == "picklist":
        sent += f" WHEN {' AND '.join(can_be_sent)} THEN {_known_picklist(line, value)}"
    return f"CASE {sent} END"


def _truncated(line: Line, value: str) -> str:
    """SQL: the first UTF-16 code units of a text without NUL characters, as many as the field holds.

    A character of two units is never cut in two: each is followed by a NUL, so that it counts as two characters, and
    loses its place when its NUL is cut off. NULL when what is left cannot be sent.
    """
    longest = line.value_field.length
    wide = "[\\x{10000}-\\x{10FFFF}]"
    marked = f"left(regexp_replace({value}, '({wide})', '\\1' || chr(0), 'g'), {longest})"
    whole = f"replace(regexp_replace({marked}, '{wide}$', ''), chr(0), '')"
    cut = f"CASE WHEN strlen({value}) = length({value}) THEN left({value}, {longest}) ELSE {whole} END"
    if line.mapping.trim:
        cut = f"rtrim({cut}, {literal(WHITE_SPACE)})"
    return _let(cut, f"nullif(nullif(p, '{CLEARED}'), '')")


def _known_picklist(line: Line, value: str) -> str:
    """SQL: what is sent instead of a value that the restricted picklist does not have.

    Of several values the known ones stay, and the default is added to them; with none left, the field is cleared.
    """
    default = line.mapping.default.strip(WHITE_SPACE) if line.mapping.unknown_picklist == "default" else None
    if line.family == "picklist":
        return literal(default or CLEARED)
    members = _members(default) if default else []
    others = f"list_filter([{literals(members)}]::VARCHAR[], lambda d: NOT list_contains(p, d))"
    known = f"list_filter(string_split({value}, ';'), lambda v: list_contains([{_listed(line)}], v))"
    body = f"CASE WHEN len(p) = 0 THEN '{CLEARED}' ELSE array_to_string(p, ';') END"
    return _let(known, f"array_to_string(list_concat(p, {others}), ';')") if members else _let(known, body)


def _members(text: str) -> list[str]:
    return [member for each in text.split(";") if (member := each.strip(WHITE_SPACE))]


def full_match(text: str, pattern: str) -> str:
    """SQL condition: all of `text` matches the regular expression."""
    return f"regexp_full_match({text}, {literal(pattern)})"


def units(text: str) -> str:
    """SQL: the length of `text` as Salesforce counts it.

    Salesforce counts UTF-16 code units: Apex's `String.length()` is defined so (Apex reference, "String Class"), and
    a describe's `byteLength` leaves three bytes per unit, six for a character beyond the Basic Multilingual Plane.
    """
    beyond = f"length(regexp_replace({text}, '[^\\x{{10000}}-\\x{{10FFFF}}]', '', 'g'))"
    return f"(length({text}) + CASE WHEN strlen({text}) = length({text}) THEN 0 ELSE {beyond} END)"


def fits(text: str, longest: int) -> str:
    """SQL condition: `text` has at most `longest` UTF-16 code units."""
    # No text has more code units than bytes, and the number of bytes is known without looking at the text.
    return f"CASE WHEN strlen({text}) <= {longest} THEN true ELSE {units(text)} <= {longest} END"


def digits_before_point(number: str) -> str:
    """SQL: how many digits the canonical number has before its point; a lone 0 counts as none."""
    return f"strlen(ltrim(split_part(ltrim({number}, '-'), '.', 1), '0'))"


def decimals(number: str) -> str:
    """SQL: how many digits the canonical number has after its point."""
    return f"strlen(split_part({number}, '.', 2))"


def _canonical_number(text: str) -> str:
    simple = full_match(text, _PLAIN_NUMBER)
    number = f"strlen({text}) <= {_LONGEST_NUMBER} AND {full_match(text, _ANY_NUMBER)}"
    exponent = f"contains(lower({text}), 'e')"
    return (
        f"CASE WHEN {simple} AND strlen({text}) <= {_LONGEST_NUMBER} THEN {text} "
        f"WHEN NOT ({number}) THEN NULL "
        f"WHEN {exponent} THEN {_from_scientific(text)} "
        f"ELSE {_from_plain(text)} END"
    )


def _assembled(negative: str, whole: str, fraction: str) -> str:
    """SQL: a canonical number from its sign (a condition), the digits before and those after its point."""
    parts = f"{{'whole': ltrim({whole}, '0'), 'fraction': rtrim({fraction}, '0'), 'negative': {negative}}}"
    return _let(
        parts,
        "CASE WHEN p.whole = '' AND p.fraction = '' THEN '0' ELSE "
        "CASE WHEN p.negative THEN '-' ELSE '' END || CASE WHEN p.whole = '' THEN '0' ELSE p.whole END || "
        "CASE WHEN p.fraction = '' THEN '' ELSE '.' || p.fraction END END",
    )


def _let(value: str, body: str) -> str:
    """SQL: `body` with `p` standing for `value`, which is worked out once."""
    return f"list_transform([{value}], lambda p: {body})[1]"


def _from_plain(text: str) -> str:
    unsigned = f"ltrim({text}, '+-')"
    return _assembled(
        f"{text} < '.'  AND {text} >= '-'", f"split_part({unsigned}, '.', 1)", f"split_part({unsigned}, '.', 2)"
    )


def _from_scientific(text: str) -> str:
    """SQL: the digits of a number like -1.5E+3, with its point moved; exact, whatever the exponent.

    An exponent beyond +-2000 is taken as 2000: with at most 1000 digits, the number is too large or rounds to zero.
    """
    mantissa = f"split_part(lower(ltrim({text}, '+-')), 'e', 1)"
    power = f"greatest(-2000, least(2000, split_part(lower({text}), 'e', 2)::BIGINT))"
    parts = (
        f"{{'digits': replace({mantissa}, '.', ''), 'negative': {text} < '.' AND {text} >= '-', "
        f"'point': strlen(split_part({mantissa}, '.', 1)) + {power}}}"
    )
    shifted = "repeat('0', greatest(0, -p.point)) || p.digits || repeat('0', greatest(0, p.point - strlen(p.digits)))"
    body = _assembled("q.negative", "left(q.digits, q.point)", "substr(q.digits, q.point + 1)")
    inner = f"{{'digits': {shifted}, 'negative': p.negative, 'point': greatest(0, p.point)}}"
    return _let(parts, f"list_transform([{inner}], lambda q: {body})[1]")


def _fitted_number(line: Line, number: str) -> str:
    whole, scale = line.digits_before_point, min(line.scale, MOST_DIGITS)
    fraction = rf"\.[0-9]{{1,{scale}}}" if scale else None
    pattern = rf"-?(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole > 0 else "-?0"
    fits_as_is = full_match(number, pattern + (f"(?:{fraction})?" if fraction else ""))
    if line.adjustment != "rounded":
        return f"CASE WHEN {fits_as_is} THEN {number} END"
    rounded = _rounded(number, scale)
    small = f"{digits_before_point(number)} <= {whole}"
    checked = _let(rounded, f"CASE WHEN {digits_before_point('p')} <= {whole} THEN p END")
    return f"CASE WHEN {fits_as_is} THEN {number} WHEN {small} THEN {checked} END"


def _rounded(number: str, scale: int) -> str:
    """SQL: the canonical number rounded to `scale` decimals, halves away from zero, on its decimal digits."""
    body = f"ltrim({number}, '-')"
    fraction = f"split_part({body}, '.', 2)"
    kept = f"(split_part({body}, '.', 1) || left({fraction}, {scale}))::HUGEINT"
    # A fraction shorter than the scale never comes here: such a number fits as it is.
    up = f"(substr({fraction}, {scale + 1}, 1) >= '5')::HUGEINT"
    digits = f"({kept} + {up})::VARCHAR"
    padded = _let(digits, f"repeat('0', greatest(0, {scale + 1} - strlen(p))) || p")
    sign = f"{number} < '.'"
    assembled = _assembled("q.negative", f"left(q.digits, strlen(q.digits) - {scale})", f"right(q.digits, {scale})")
    return f"list_transform([{{'digits': {padded}, 'negative': {sign}}}], lambda q: {assembled})[1]"


def _date(text: str) -> str:
    # The cast accepts more spellings than one; only the one that is also written again counts.
    valid = f"CAST(try_cast({text} AS DATE) AS VARCHAR) = {text}"
    return f"CASE WHEN {valid} AND {_in_range(text)} THEN {text} END"


def _in_range(text: str) -> str:
    """SQL condition on a date, compared as text: with four digits of the year that is right."""
    return f"strlen({text}) >= 10 AND {text} >= '{_FIRST_YEAR}-01-01' AND {text} < '{_LAST_YEAR + 1}-01-01'"


def _datetime(text: str, time_zone: str) -> str:
    """SQL: UTC with milliseconds, which are always zero, and Z.

    Fractions of a second are cut off: Salesforce holds none (see `echo`), and would otherwise never be found equal. A
    local time that the clocks skip in spring is no time at all; one that they pass twice in autumn is read as the
    later of the two.
    """
    day_and_clock = f"left({text}, 10) || ' ' || substr({text}, 12)"
    zone = literal(time_zone)
    local = f"try_cast({day_and_clock} AS TIMESTAMP)"
    exists = f"timezone({zone}, timezone({zone}, p)) = p"
    naive = _let(local, f"CASE WHEN {exists} THEN timezone('UTC', timezone({zone}, p)) END")
    if time_zone == "UTC":
        naive = local
    instant = f"replace(replace(upper(left({text}, 10) || 'T' || substr({text}, 12)), ' ', ''), 'UTC', 'Z')"
    zoned = f"timezone('UTC', try_cast({instant} AS TIMESTAMPTZ))"
    moment = (
        f"CASE WHEN {full_match(text, _NAIVE)} THEN {naive} WHEN {full_match(text, _NAIVE + _OFFSET)} THEN {zoned} END"
    )
    written = "strftime(p, '%Y-%m-%dT%H:%M:%S.000Z')"
    return _let(moment, f"CASE WHEN year(p) BETWEEN {_FIRST_YEAR} AND {_LAST_YEAR} THEN {written} END")


def _time(text: str) -> str:
    """SQL: a time of day, of whole seconds, as those of date-times."""
    valid = full_match(text, _CLOCK + "[Zz]?")
    moment = f"DATE '2000-01-01' + try_cast(rtrim({text}, 'Zz') AS TIME)"
    return f"CASE WHEN {valid} THEN strftime({moment}, '%H:%M:%S.000Z') END"


def _boolean(text: str) -> str:
    true, false = literals(TRUE_WORDS), literals(FALSE_WORDS)
    return f"CASE WHEN lower({text}) IN ({true}) THEN 'true' WHEN lower({text}) IN ({false}) THEN 'false' END"


def _id18(text: str) -> str:
    """SQL: the 18 characters of an id; an id of 18 must carry the right last three (Object Reference, "ID Field Type").

    Each of the last three says which of five characters are capitals.
    """
    checks = []
    for start in (1, 6, 11):
        bits = (f"(substr({text}, {start + k}, 1) BETWEEN 'A' AND 'Z')::INTEGER * {1 << k}" for k in range(5))
        checks.append(f"substr('{_CHECK_CHARACTERS}', 1 + {' + '.join(bits)}, 1)")
    full = f"left({text}, 15) || {' || '.join(checks)}"
    valid = f"strlen({text}) IN (15, 18) AND {full_match(text, '[0-9A-Za-z]+')}"
    return f"CASE WHEN {valid} THEN {_let(full, f'CASE WHEN strlen({text}) = 15 OR p = {text} THEN p END')} END"


def _multipicklist(text: str) -> str:
    values = f"list_filter(list_transform(string_split({text}, ';'), lambda v: {trimmed('v')}), lambda v: v <> '')"
    return f"CASE WHEN contains({text}, ';') THEN nullif(array_to_string({values}, ';'), '') ELSE {text} END"


def in_picklist(line: Line, value: str) -> str:
    """SQL condition: `value`, a canonical value, is among the field's picklist values."""
    listed = _listed(line)
    if line.family == "picklist":
        return f"{value} IN ({listed})"
    return f"CASE WHEN {value} IN ({listed}) THEN true ELSE list_has_all([{listed}], string_split({value}, ';')) END"


def _listed(line: Line) -> str:
    return literals(line.value_field.picklist_values)


# Unicode's White_Space and the four separators of ASCII: what pyarrow's `utf8_trim_whitespace` takes off, too.
WHITE_SPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)


def trimmed(text: str) -> str:
    """SQL: `text` without white space at its edges. Slow; tables are trimmed when they are staged."""
    return f"trim({text}, {literal(WHITE_SPACE)})"
