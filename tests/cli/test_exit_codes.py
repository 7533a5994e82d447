"""Scripts rely on the exit codes (docs/cli.md)."""

from __future__ import annotations

import pytest

from tunnel.cli.exit_codes import exit_of, leaves_of
from tunnel.model.errors import DeviceError, Refused, ServerUnreachable, SettingsError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("wrong"), 2),
        (ServerUnreachable("away"), 3),
        (Refused("version", "no"), 4),
        (KeyboardInterrupt(), 130),
        (DeviceError("taken"), 1),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_kind_of_error_has_its_code(error: BaseException, code: int) -> None:
    assert exit_of(error) == code


def test_the_leaves_of_a_group_are_its_errors_in_order() -> None:
    first, second, third = ValueError("1"), OSError("2"), KeyError("3")
    group = ExceptionGroup("outer", [first, ExceptionGroup("inner", [second, third])])
    assert leaves_of(group) == [first, second, third]
    assert leaves_of(first) == [first]
