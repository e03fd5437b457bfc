"""Why sfsync refuses a cell: the rules of each line of the mapping as SQL, in order; the first that holds is named."""

from __future__ import annotations

import dataclasses

from syncs.engine import values
from syncs.engine.families import MOST_CHARACTERS, MOST_DIGITS, Line
from syncs.engine.nul import has_nul, visible
from syncs.engine.sql import literal, literals
from syncs.engine.transform import canonical_name, has_no_parent, is_too_long_together

REQUIRED = "Required Field Missing"
MANDATORY = "Mandatory Rule Violation"
RESERVED = "Reserved Value #N/A"
INVALID_CHARACTER = "Invalid Character"
TOO_LONG = "Max Length Violation"
RECORD_TOO_LONG = "Record Too Long"
PICKLIST = "Invalid Picklist Value"
NUMBER = "Invalid Number"
TOO_LARGE = "Number Too Large"
TOO_PRECISE = "Too Many Decimals"
DATE = "Invalid Date"
DATETIME = "Invalid Datetime"
TIME = "Invalid Time"
BOOLEAN = "Invalid Boolean"
EMAIL = "Invalid Email"
ID = "Invalid Id"
UNRESOLVED_LOOKUP = "Unresolved Lookup"
AMBIGUOUS_LOOKUP = "Ambiguous Lookup"
BLANK_KEY = "Blank Key"
DUPLICATE_KEY = "Duplicate Key"
AMBIGUOUS_KEY = "Ambiguous Key"
MALFORMED = "Malformed Row"
ACTION = "Invalid Action"
EXPRESSION = "Expression Error"


@dataclasses.dataclass(frozen=True)
class Rule:
    """One reason to refuse a cell.

    code: its name. condition: SQL over t_<i> and n_<i>, the cell is refused for this reason. message: SQL for what to
    tell an administrator.
    """

    code: str
    condition: str
    message: str


def rules_of(line: Line, time_zone: str, *, soft: bool = False) -> list[Rule]:
    """The rules of one line. For a cell that breaks one, the last one's condition need not be tested.

    soft: the row went through all the same.
    """
    text = f"t_{line.index}"
    name = f"{line.field.label} ({line.sent_as})"
    rules = [_record_rule(line)] if line.together else []
    rules += [_prepared_rule(line, name)] if line.prepared else []
    rules.append(_blank_rule(line, name, soft))
    reserved = (
        f"{name} cannot be '{values.CLEARED}': to Salesforce that text means 'clear the field'. Change the value."
    )
    rules.append(Rule(RESERVED, f"{text} = '{values.CLEARED}'", literal(reserved)))
    place = f"Column '{line.mapping.source_column}'"
    if line.mapping.source_column is None:
        place = "The constant" if line.mapping.expression is None else "What the expression gives"
    nul = (
        f"{place} holds a NUL character (shown as {visible(chr(0))}), which Salesforce does not store, so it cannot go "
        f"into {name}. Remove it."
    )
    rules.append(Rule(INVALID_CHARACTER, has_nul(text), literal(nul)))
    if line.is_resolved:
        return [*rules, *_parent_rules(line, name)]
    return [*rules, *_family_rules(line, name, time_zone)]


def _record_rule(line: Line) -> Rule:
    told = (
        f"The texts of this row have more than {MOST_CHARACTERS:,} characters together, which is all that Salesforce "
        "takes of one record. Shorten them, or map fewer long fields."
    )
    return Rule(RECORD_TOO_LONG, is_too_long_together(line), literal(told))


def _blank_rule(line: Line, name: str, soft: bool) -> Rule:
    text = f"t_{line.index}"
    # A row that a line without validation lets through is rejected only for what a new record must have.
    if line.is_mandatory and soft == line.is_soft:
        condition = f"{text} IS NULL"
        if line.adjustment == "picklist":
            condition += f" OR {values.encoded(line, canonical_name(line))} = '{values.CLEARED}'"
        elif line.adjustment == "parents":
            condition += f" OR {has_no_parent(line)}"
        return Rule(MANDATORY, condition, literal(f"{name} is blank, but its mapping makes it mandatory. Fill it in."))
    reason = "but a new record must have a value there."
    if line.clears and soft == line.is_soft:
        reason = "and a blank would clear it, but the field must have a value."
    return Rule(REQUIRED, f"{text} IS NULL", literal(f"{name} is blank, {reason} Fill it in."))


def _parent_rules(line: Line, name: str) -> list[Rule]:
    """Of a lookup that sfsync resolves: several records have the value, or none has it."""
    assert line.mapping.lookup is not None and line.parent_field is not None
    parent = line.mapping.lookup.object
    field = f"{line.parent_field.label} ({line.parent_field.name})"
    shown = f"'''' || left(t_{line.index}, 255) || ''''"
    several = f" is the {field} of several records of {parent}: "
    way_out = ". Merge them, or find the parent by a field that is unique."
    missing = (
        f" is the {field} of no {parent}, so {name} has no record to point to. Correct it, create that record, or let "
        "this mapping leave missing parents blank."
    )
    told = f"{shown} || {literal(several)} || xi_{line.index} || {literal(way_out)}"
    return [
        Rule(AMBIGUOUS_LOOKUP, f"xi_{line.index} IS NOT NULL", told),
        Rule(UNRESOLVED_LOOKUP, has_no_parent(line), f"{shown} || {literal(missing)}"),
    ]


def _prepared_rule(line: Line, name: str) -> Rule:
    """The line's text could not be worked out."""
    failed, values_there = f"xw_{line.index} IS NOT NULL", f"xw_{line.index}"
    mapping = line.mapping
    if mapping.expression is not None:
        shown = mapping.expression if len(mapping.expression) <= 200 else mapping.expression[:200] + "..."
        head = f"The expression for {name} cannot be worked out for this row ("
        tail = f"). Correct the row, or the expression: {shown}"
    elif mapping.replacements:
        head = f"For {name}, this cannot be read in the column's date format, or is too long for the replacements ("
        tail = "). Correct it."
    else:
        head, tail = f"For {name}, this is no date in the format that the column has (", "). Correct it."
        return Rule(DATE, failed, f"{literal(head)} || {values_there} || {literal(tail)}")
    return Rule(EXPRESSION, failed, f"{literal(head)} || {values_there} || {literal(tail)}")


def filter_message(shown: str) -> str:
    """SQL: that nobody can tell whether a row passes the source's filter.

    shown: the filter, as people read it.
    """
    head = "It cannot be told whether this row passes the filter of the source ("
    tail = f"), so it is not sent, and its record not deleted either. Correct the row, or the filter: {shown}"
    return f"{literal(head)} || coalesce(_filter_values, '') || {literal(tail)}"


def _family_rules(line: Line, name: str, time_zone: str) -> list[Rule]:
    match line.family:
        case "number":
            return _number_rules(line, name)
        case "picklist" | "multipicklist":
            return [*_picklist_rules(line, name), _length_rule(line, name)]
        case "email":
            form = f"is no e-mail address that Salesforce accepts for {name}. Correct it."
            return [_form_rule(EMAIL, line, form), _length_rule(line, name)]
        case "date":
            form = f"is no date for {name}: write it as YYYY-MM-DD, between the years 1700 and 4000."
            return [_form_rule(DATE, line, form)]
        case "datetime":
            form = (
                f"is no date and time for {name}: write it as YYYY-MM-DD HH:MM:SS, with an offset such as +00 or Z, or "
                f"without one as it is in {time_zone}, between the years 1700 and 4000."
            )
            return [_form_rule(DATETIME, line, form)]
        case "time":
            return [_form_rule(TIME, line, f"is no time of day for {name}: write it as HH:MM:SS.")]
        case "boolean":
            words = ", ".join((*values.TRUE_WORDS, *values.FALSE_WORDS))
            return [_form_rule(BOOLEAN, line, f"is no value for the checkbox {name}: use one of {words}.")]
        case "id":
            form = f"is no Salesforce id for {name}: an id has 15 characters, or 18 whose last three fit the others."
            return [_form_rule(ID, line, form)]
        case _:
            return [_length_rule(line, name)]


def _form_rule(code: str, line: Line, form: str) -> Rule:
    """The text is no value of the family at all."""
    text = f"t_{line.index}"
    return Rule(code, f"{canonical_name(line)} IS NULL", f"'''' || left({text}, 255) || ''' ' || {literal(form)}")


def _length_rule(line: Line, name: str) -> Rule:
    value = canonical_name(line)
    message = (
        f"{literal(f'{name} holds at most {line.value_field.length} characters, and this value has ')} || "
        f"{values.units(value)} || '. Shorten it.'"
    )
    return Rule(TOO_LONG, f"NOT {values.fits(value, line.value_field.length)}", message)


def _picklist_rules(line: Line, name: str) -> list[Rule]:
    if not line.is_restricted:
        return []
    value = canonical_name(line)
    allowed = literals(line.value_field.picklist_values)
    condition = f"NOT {values.in_picklist(line, value)}"
    shown = f"'''' || left({value}, 255) || ''''"
    if line.family == "multipicklist":
        unknown = f"list_filter(string_split({value}, ';'), lambda v: NOT list_contains([{allowed}], v))"
        shown = f"'''' || left(array_to_string({unknown}, ''', '''), 255) || ''''"
        condition = f"{value} IS NULL OR {condition}"
    known = ", ".join(line.value_field.picklist_values[:10]) + (
        ", ..." if len(line.value_field.picklist_values) > 10 else ""
    )
    way_out = f" is not among the values of the restricted picklist {name}: {known}."
    return [Rule(PICKLIST, condition, f"{shown} || {literal(way_out)}")]


def _number_rules(line: Line, name: str) -> list[Rule]:
    number, text = canonical_name(line), f"t_{line.index}"
    shown = f"'''' || left({text}, 255) || ''''"
    scale = min(line.scale, MOST_DIGITS)
    whole = line.digits_before_point
    large = (
        f" is too large for {name}, which holds {whole} digit{'' if whole == 1 else 's'} before the decimal point. "
        "Correct it, or give the field more digits in Salesforce."
    )
    precise = (
        f" has more decimals than {name} holds ({scale}). Shorten it, give the field more decimals in Salesforce, "
        "or let this mapping round."
    )
    # Where rounding is allowed, what is left is a number that rounding made too large.
    too_large = f"{values.digits_before_point(number)} > {whole}"
    if line.adjustment == "rounded":
        too_large = f"{number} IS NOT NULL"
    return [
        _form_rule(NUMBER, line, f"is no number for {name}: write it with digits and a decimal point, like -1234.5."),
        Rule(TOO_LARGE, too_large, f"{shown} || {literal(large)}"),
        Rule(TOO_PRECISE, f"{values.decimals(number)} > {scale}", f"{shown} || {literal(precise)}"),
    ]
