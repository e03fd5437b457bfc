"""Made-up companies and people for the demo, with deliberate faults of every kind. The same ones each time."""

from __future__ import annotations

import csv
import random
from pathlib import Path

ACCOUNT_COLUMNS = ["number", "company", "industry", "employees", "revenue", "city", "website"]
CONTACT_COLUMNS = [
    "id", "account", "first", "last", "email", "phone", "title", "born", "tier", "score", "points", "opted in",
    "last seen", "loyalty card",
]  # fmt: skip

_FIRST = [
    "Ana",
    "Björn",
    "Chloé",
    "Dmitri",
    "Élise",
    "Farah",
    "Grace",
    "Hugo",
    "Ines",
    "Jürgen",
    "Kofi",
    "Lucía",
    "Mei",
]
_LAST = ["Almeida", "Bianchi", "Çelik", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Kowalski", "Li", "Novák"]
_TITLES = ["Engineer", "Buyer", "Head of Sales", "Analyst", "Owner", "Assistant"]
_CITIES = ["Lisboa", "Zürich", "São Paulo", "Kraków", "Austin", "Nairobi", "大阪", "Reykjavík"]
_INDUSTRIES = ["Agriculture", "Banking", "Energy", "Retail", "Technology"]


def write_accounts(path: Path, rows: int) -> None:
    """A CSV file of companies, numbered A000001 and up."""
    chance = random.Random(1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ACCOUNT_COLUMNS)
        for number in range(1, rows + 1):
            name = f"{chance.choice(_LAST)} & {chance.choice(_LAST)} {chance.choice(['Ltd', 'GmbH', 'SA'])} {number}"
            writer.writerow(
                [
                    f"A{number:06}",
                    name,
                    chance.choice(_INDUSTRIES),
                    chance.randint(1, 90_000),
                    chance.randint(1, 900) * 100_000,
                    chance.choice(_CITIES),
                    f"https://company{number}.example",
                ]
            )


def write_contacts(path: Path, rows: int, accounts: int) -> None:
    """A CSV file of people, numbered C000001 and up, with a few dozen faults spread over it."""
    people = [_person(number, accounts) for number in range(1, rows + 1)]
    for position, fault in enumerate(FAULTS * 3):
        _spoil(people[(position + 1) * rows // (len(FAULTS) * 3 + 1)], fault)
    _write_people(path, people)


def change_some(path: Path, share: float) -> int:
    """Give a share of the people in the file a new title and phone number. Returns how many."""
    with open(path, newline="", encoding="utf-8") as file:
        people = list(csv.reader(file))[1:]
    chosen = random.Random(2).sample(range(len(people)), int(len(people) * share))
    for index in chosen:
        if len(people[index]) == len(CONTACT_COLUMNS):
            people[index][CONTACT_COLUMNS.index("title")] = "Promoted"
            people[index][CONTACT_COLUMNS.index("phone")] = f"+351 99 {index:06}"
    _write_people(path, people)
    return len(chosen)


def write_airports(path: Path, rows: int) -> None:
    """A CSV file of airports, numbered 1 and up."""
    chance = random.Random(3)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["airport", "name", "city", "altitude"])
        for number in range(1, rows + 1):
            city = chance.choice(_CITIES)
            writer.writerow([number, f"{city} {number}", city, chance.randint(0, 2_500)])


def write_newsletter(path: Path, rows: int) -> None:
    """A CSV file of readers, for a visitor to map; a few of its e-mail addresses and names are wrong."""
    chance = random.Random(4)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["External Id", "First Name", "Last Name", "Email", "City", "Subscribed"])
        for number in range(1, rows + 1):
            email = "nobody at example" if number % 40 == 7 else f"reader{number}@example.com"
            last = "" if number % 60 == 11 else chance.choice(_LAST)
            city = chance.choice(_CITIES)
            writer.writerow([f"N{number:05}", chance.choice(_FIRST), last, email, city, chance.choice(["yes", "no"])])


def _write_people(path: Path, people: list[list[str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CONTACT_COLUMNS)
        writer.writerows(people)


def _person(number: int, accounts: int) -> list[str]:
    chance = random.Random(number)
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    born = f"{chance.randint(1950, 2004)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    seen = f"2026-{chance.randint(1, 10):02}-{chance.randint(1, 28):02} {chance.randint(0, 23):02}:15:00"
    return [
        f"C{number:06}",
        f"A{chance.randint(1, accounts):06}",
        first,
        last,
        f"person{number}@example.com",
        f"+351 21 {chance.randint(100_000, 999_999)}",
        chance.choice(_TITLES),
        born,
        chance.choice(["Bronze", "Silver", "Gold"]),
        f"{chance.randint(0, 99_999) / 100:.2f}",
        str(chance.randint(0, 50_000)),
        chance.choice(["yes", "no"]),
        seen,
        str(4_000_000_000 + number),
    ]


# What is wrong, and in which column: (column, value). A value of None cuts the row off there.
FAULTS: list[tuple[str, str | None]] = [
    ("last", ""),  # required
    ("last", "x" * 81),  # too long
    ("email", "nobody at example"),
    ("born", "1985-02-30"),
    ("tier", "Platinum"),  # a restricted picklist
    ("points", "12.5"),  # a whole number
    ("points", "9999999999"),  # too large
    ("opted in", "perhaps"),
    ("last seen", "yesterday"),
    ("title", "#N/A"),
    ("id", ""),
    ("id", "C000002"),  # stands twice
    ("score", "12.345"),  # rounded
    ("title", "  Engineer\t"),  # trimmed
    ("loyalty card", "4000000001"),  # unique in Salesforce: only Salesforce can see that
    ("phone", None),
]


def _spoil(person: list[str], fault: tuple[str, str | None]) -> None:
    column, value = fault
    index = CONTACT_COLUMNS.index(column)
    if value is None:
        del person[index:]
    else:
        person[index] = value


# What the sandbox lets in unless it is told otherwise.
SANDBOX_LOGIN = {
    "flow": "password",
    "client_id": "sandbox-client",
    "client_secret": "sandbox-secret",
    "username": "admin@sandbox.example",
    "password": "practice",
    "security_token": "TOKEN",
}
