import html
import json
from urllib.parse import quote, urlencode

from connections.redact import redacted

SECRET = "a<\"&'\\>%+é b"


def test_a_secret_is_taken_out_however_the_other_side_wrote_it():
    for spelled in (
        SECRET,
        quote(SECRET),
        urlencode({"password": SECRET}),
        "a%3c%22%26%27%5c%3e%25%2b%c3%a9+b",
        html.escape(SECRET),
        json.dumps({"password": SECRET}),
        json.dumps({"password": SECRET}, ensure_ascii=False),
    ):
        assert "***" in redacted(f"no such login: {spelled}!", [SECRET])
    assert redacted({"error": [{"said": SECRET}], SECRET: 3}, [SECRET]) == {"error": [{"said": "***"}], "***": 3}


def test_all_of_a_secret_is_taken_out_that_begins_with_another_one():
    assert redacted("password=practiceTOKEN", ["practice", "practiceTOKEN"]) == "password=***"


def test_words_stay_as_they_are():
    assert redacted("The token is wrong.", ["TOKEN", "", "is"]) == "The token is wrong."
    assert redacted("", []) == "" and redacted(None, [SECRET]) is None
