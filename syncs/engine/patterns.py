"""How large the program is that a regular expression becomes.

RE2 looks at each character of a text once for each step of the program, so that no pattern takes exponential time; but
`[a-z]{0,900}` sixty times over is a program of a hundred thousand steps, a minute for one long text. Such are refused.
"""

from __future__ import annotations

import re

LONGEST_PATTERN = 1000
MOST_STEPS = 10_000

# In UTF-8, a set of characters is several ranges of bytes, and a class of Unicode hundreds.
_SET, _UNICODE_CLASS = 4, 100
_GROUPS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|(\((?!\?)|\(\?P?<)", re.DOTALL)
_COUNTED = re.compile(r"\{(\d*)(,?)(\d*)\}")


def check_pattern(pattern: str) -> int:
    """How many steps the program of a regular expression has, about.

    Raises ValueError with what is wrong when it is too large; whether RE2 takes it is not looked at.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the regular expression is longer than {LONGEST_PATTERN:,} characters")
    steps = pattern_steps(pattern)
    if steps > MOST_STEPS:
        raise ValueError(
            "the regular expression repeats too much: counted repetitions such as {0,900} are written out by the "
            "engine, and this would be too slow. Use * or +, or smaller counts"
        )
    return steps


def groups_in(pattern: str) -> int:
    """How many groups of a regular expression are remembered."""
    return sum(1 for found in _GROUPS.finditer(pattern) if found[1])


def check_replacement(pattern: str, replacement: str) -> None:
    """Raises ValueError when a replacement names groups, as `\\1`, that its pattern has not."""
    groups = groups_in(pattern)
    for found in re.finditer(r"\\(.?)", replacement, re.DOTALL):
        if found[1] == "\\" or (found[1].isdigit() and int(found[1]) <= groups):
            continue
        raise ValueError(
            f"the replacement holds '{found[0]}', and the regular expression has {groups or 'no'} "
            f"group{'' if groups == 1 else 's'}. Write a backslash as \\\\"
        )


def pattern_steps(pattern: str) -> int:
    """About how many steps RE2's program for a regular expression has."""
    # For each open group, the steps of what is before it.
    outer: list[int] = []
    total, last, place = 0, 0, 0
    while place < len(pattern):
        counted = _COUNTED.match(pattern, place)
        if counted:
            last *= max(1, *(int(number) for number in (counted[1], counted[3]) if number), 1)
            place = counted.end()
            continue
        total, sign = total + last, pattern[place]
        place, last = place + 1, 1
        if sign == "(":
            outer.append(total)
            total, last = 0, 0
        elif sign == ")" and outer:
            total, last = outer.pop(), total + 2
        elif sign == "[":
            place, last = _end_of_set(pattern, place)
        elif sign == "\\":
            last = _UNICODE_CLASS if pattern[place : place + 1] in ("p", "P") else _SET
            place += 1
        elif sign == ".":
            last = _SET
        total = min(total, 10 * MOST_STEPS)
        last = min(last, 10 * MOST_STEPS)
    return sum(outer) + total + last


def _end_of_set(pattern: str, place: int) -> tuple[int, int]:
    """Where the set that begins before `place` ends, and how many steps it is."""
    start = place
    place += pattern[place : place + 1] == "^"
    place += pattern[place : place + 1] == "]"
    while place < len(pattern) and pattern[place] != "]":
        if pattern.startswith("[:", place) and ":]" in pattern[place:]:
            place = pattern.index(":]", place) + 1
        place += 2 if pattern[place] == "\\" else 1
    inside = pattern[start:place]
    unicode_classes = inside.count("\\p") + inside.count("\\P")
    return place + 1, _SET + len(inside) // 4 + _UNICODE_CLASS * unicode_classes
