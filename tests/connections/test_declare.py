import dataclasses

import pytest

from connections.declare import SettingsError, build, secret_names, setting


@dataclasses.dataclass(frozen=True)
class Settings:
    host: str = setting("Host")
    password: str = setting("Password", secret=True)
    port: int = setting("Port", default=5432)


def test_plain_values_become_settings():
    assert build(Settings, {"host": "db", "password": "x"}) == Settings("db", "x", 5432)


def test_secrets_are_known_and_not_shown():
    assert secret_names(Settings) == {"password"}
    assert "hidden" not in repr(Settings("db", "hidden"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"password": "x"}, "'host' (Host) is missing"),
        ({"host": "db", "password": "x", "hots": 1}, "'hots' is not a setting"),
        ({"host": "db", "password": "x", "port": "many"}, "'port' (Port) must be a whole number, not 'many'"),
        ({"host": "db", "password": "x", "port": True}, "must be a whole number"),
    ],
)
def test_a_wrong_value_is_named(values, message):
    with pytest.raises(SettingsError) as error:
        build(Settings, values)
    assert message in str(error.value)


def test_a_wrong_secret_is_not_repeated_in_the_error():
    with pytest.raises(SettingsError) as error:
        build(Settings, {"host": "db", "password": 12345})
    assert "12345" not in str(error.value)
