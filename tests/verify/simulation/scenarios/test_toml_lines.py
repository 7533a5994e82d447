"""The lines of keys in a file, whatever surrounds them."""

from __future__ import annotations

import tomllib

import pytest

from tunnel.verify.simulation.scenarios.toml_lines import Path, line_of

TEXT = '''# a comment [not.a.table]
title = "a # b [c]"   # [nor.this]
about = """
[looks.like.a.header]
key = "and this like a key" \\""" ""quoted"" """""
plain = \'\'\'
[[again]] \'\'\'\'
list = [ # with a comment ]
  "]", [1, 2],
]
[hosts."my.desk"] # here
line = { loss_up = 0.5, name = "}" }
a . 'b c' . d = 1

  [[ do ]]
at = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("title",), 2),
        (("about",), 3),
        (("plain",), 6),
        (("list",), 8),
        (("list", 1, 0), 8),
        (("hosts",), 11),
        (("hosts", "my.desk"), 11),
        (("hosts", "my.desk", "line", "loss_up"), 12),
        (("hosts", "my.desk", "a", "b c", "d"), 13),
        (("hosts", "my.desk", "gone"), 11),
        (("do", 0), 15),
        (("do", 0, "at"), 16),
        (("do", 1, "at"), 18),
        (("do", 1, "line"), 19),
        (("do", 1, "line", "loss_up"), 20),
        (("gone", "too"), 1),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_key_is_found_and_what_is_inside_strings_and_comments_is_none(path: Path, line: int) -> None:
    text = TEXT + "[[do]]\nat = 2\n[do.line]\nloss_up = 1\n"
    tomllib.loads(text)
    assert line_of(text, path) == line
    assert line_of(text.replace("\n", "\r\n"), path) == line
