"""The menu, the help, and words that are not in it."""

from __future__ import annotations

from importlib import import_module

import click
import pytest

from cli.conftest import Program
from cowshed import __version__
from cowshed.cli.menu import ALIASES, GROUPS, VERBS


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_there_and_can_be_learned(name: str) -> None:
    entry = VERBS[name]
    command = getattr(import_module(f"cowshed.cli.verbs.{entry.module}"), entry.command)
    assert isinstance(command, click.Command)
    with click.Context(command, info_name=name) as context:
        help_text = command.get_help(context)
    assert "Examples:" in help_text
    assert f"cowshed {name}" in help_text or f" {name} " in help_text
    assert command.name == name.rpartition(" ")[2]


def test_aliases_lead_to_verbs() -> None:
    assert set(ALIASES.values()) <= set(VERBS)
    assert not set(ALIASES) & set(VERBS)


@pytest.mark.parametrize("words", [["--help"], ["help"], [], ["-h"]])
def test_help_lists_every_verb(anywhere: Program, words: list[str]) -> None:
    text = anywhere(*words).text
    for name in VERBS:
        assert f"  {name} " in text


@pytest.mark.parametrize("group", GROUPS)
def test_help_of_a_group(anywhere: Program, group: str) -> None:
    text = anywhere(*group.split(), "--help").text
    for verb in VERBS:
        assert (f"  {verb} " in text) == verb.startswith(f"{group} ")


def test_help_before_a_verb(anywhere: Program) -> None:
    assert anywhere("help", "snap", "create").out == anywhere("snap", "create", "--help").out


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version(anywhere: Program, flag: str) -> None:
    assert anywhere(flag).text == f"cowshed {__version__}\n"
    assert anywhere("--store", "x", flag).text == f"cowshed {__version__}\n"


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        (["craete"], "`cowshed create`"),
        (["snap", "crate"], "`cowshed snap create`"),
        (["rollback"], "`cowshed snap rollback`"),
        (["snapshot"], "`cowshed snap`"),
        (["frobnicate"], "`cowshed --help`"),
        (["snap"], "`cowshed snap --help`"),
    ],
)
def test_unknown_verbs(anywhere: Program, words: list[str], suggestion: str) -> None:
    assert suggestion in anywhere.fails(22, *words)
