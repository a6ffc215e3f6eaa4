"""A person plays in Chromium: Go, a chat, a maze, Pong, and a look into a network."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fathom.page.registry import id_of
from fathom.play import understanding

RUNS = Path("runs")
AXE = Path("build/node_modules/axe-core/axe.min.js")


@pytest.fixture
def visit(page: Any, serve: Callable[..., str]) -> Callable[[str], None]:
    """Gives a function that opens a path of the page over the reference runs."""
    address = serve(RUNS, read_only=True)
    page.set_default_timeout(180_000)
    return lambda path: page.goto(address + path)


def _until(page: Any, condition: str, argument: object = None) -> None:
    """Wait until a function in JavaScript gives true; `wait_for_function` would need `eval`, which is refused."""
    end = time.monotonic() + 180
    while not page.evaluate(condition, argument):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(30)


def _good_for_everybody(page: Any) -> None:
    """No view is wider than a phone, and axe-core, where it is installed, finds nothing, light or dark."""
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    if not AXE.is_file():
        return
    # Not as a script of the page, which its own policy would refuse.
    page.evaluate(AXE.read_text())
    for colours, rules in (("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")):
        page.emulate_media(color_scheme=colours)
        violations = page.evaluate(f"axe.run({rules})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in violations] == []
    page.emulate_media(color_scheme="light")


def _moves(page: Any, count: int) -> None:
    """Wait until the game has so many moves, and it is the person's turn."""
    _until(
        page,
        "count => document.querySelector('#facts').textContent.startsWith(count + ' moves')"
        " && document.querySelector('#room').dataset.turn === 'person'",
        count,
    )


def test_ten_moves_of_go_an_undo_and_a_record(
    page: Any, visit: Callable[[str], None], screenshot: Callable[[str], None], tmp_path: Path
) -> None:
    visit(f"/play/go/{id_of('reference/go9-alphago')}")
    _moves(page, 0)
    page.get_by_label("Seconds a move").fill("0")
    page.get_by_role("button", name="New game").click()
    for number in range(5):
        empty = page.locator(".point[aria-label$='empty']")
        if number == 0:  # by keyboard
            page.locator(".point[data-point=E5]").focus()
            page.keyboard.press("ArrowUp")
            page.keyboard.press("Enter")
        else:
            empty.nth(7 * number).click()
        _moves(page, 2 * number + 2)
    assert page.locator(".point[aria-label^='E6, black stone']").count() == 1
    stones = page.locator(".stone").count()
    page.get_by_role("button", name="Favourite points").click()
    page.wait_for_selector("#hints li")
    page.get_by_role("button", name="Ownership").click()
    page.wait_for_selector(".owner")
    page.get_by_role("button", name="Win rates of all moves").click()
    _until(page, "() => document.querySelectorAll('.dot').length === 11")
    _good_for_everybody(page)
    screenshot("go")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as SGF").click()
    record = tmp_path / "game.sgf"
    download.value.save_as(record)
    page.get_by_role("button", name="Undo").click()
    _moves(page, 8)
    assert page.locator(".stone").count() < stones
    page.get_by_label("Load SGF").set_input_files(record)
    _moves(page, 10)
    assert page.locator(".stone").count() == stones


@pytest.fixture
def quick_understanding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A short fit of what reads a person's lines, kept out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(understanding, "SENTENCES", 500)
    config = dataclasses.replace(understanding.CONFIG, epochs=3)
    monkeypatch.setattr(understanding, "CONFIG", config)
    return


@pytest.mark.usefixtures("quick_understanding")
def test_five_turns_of_chat_and_the_belief_beside_them(
    page: Any, visit: Callable[[str], None], screenshot: Callable[[str], None]
) -> None:
    visit(f"/play/chat/{id_of('reference/movie-dqn')}")
    page.wait_for_selector(".line.agent")
    wanted = dict(
        zip(
            page.locator("#card dt").all_inner_texts(),
            page.locator("#card dd").all_inner_texts(),
            strict=True,
        )
    )
    assert wanted
    lines = ["hello", *(value for value in wanted.values() if value != "ask for it")]
    for number, text in enumerate((lines + ["yes"] * 5)[:5]):
        page.get_by_label("You say").fill(text)
        page.get_by_label("You say").press("Enter")
        _until(page, "n => document.querySelectorAll('.line.you').length === n", number + 1)
        if page.locator("#verdict").inner_text():
            break
    assert page.locator(".line.agent").count() >= 5
    believed = page.locator("#beliefs td:nth-child(2)").all_inner_texts()
    assert set(filter(None, believed)) & set(wanted.values())
    _good_for_everybody(page)
    screenshot("chat")


def test_a_maze_by_keyboard_and_an_episode_of_the_agent_to_its_end(
    page: Any, visit: Callable[[str], None], screenshot: Callable[[str], None]
) -> None:
    visit(f"/play/game/{id_of('reference/maze-ppo')}")
    page.wait_for_selector("#room[data-steps='0']")
    room = page.locator("#room")
    for count, key in enumerate(("ArrowUp", "ArrowLeft", "ArrowDown"), 1):
        page.keyboard.press(key)
        page.wait_for_selector(f"#room[data-steps='{count}']")
    assert room.get_attribute("data-player") == "person"
    _good_for_everybody(page)
    screenshot("maze")
    page.get_by_label("Speed").select_option("4")
    page.locator("#screen").focus()
    page.keyboard.press("h")
    page.wait_for_selector("#room[data-end='terminated']")
    assert "is over" in page.locator("#message").inner_text()
    page.keyboard.press("n")
    page.wait_for_selector("#room[data-end='']")


def test_pong_is_handed_over_while_it_runs_and_shows_what_the_agent_looks_at(
    page: Any, visit: Callable[[str], None], screenshot: Callable[[str], None]
) -> None:
    visit(f"/play/game/{id_of('reference/pong-dqn')}")
    steps = "() => Number(document.querySelector('#room').dataset.steps)"
    _until(page, f"() => ({steps})() > 5")  # it runs by itself
    assert page.locator("#room").get_attribute("data-player") == "person"
    page.keyboard.down("ArrowRight")
    page.keyboard.press("h")
    page.keyboard.up("ArrowRight")
    page.wait_for_selector("#room[data-player=agent]")
    page.get_by_label("The agent looks at").select_option("gradient")
    page.wait_for_selector("#attention:not([hidden])")
    now = page.evaluate(steps)
    _until(page, f"() => ({steps})() > {now} + 10")
    page.get_by_role("button", name="Pause").click()
    _until(page, "() => document.querySelector('#message').textContent === 'Paused.'")
    assert page.evaluate("document.querySelector('#picture').width") == 160
    assert page.locator(".action .number").first.inner_text() != ""
    _good_for_everybody(page)
    screenshot("pong")
    page.get_by_role("button", name="Play yourself").click()
    page.wait_for_selector("#room[data-player=person]")


def test_the_filters_of_a_network_are_shown_and_the_lobby_leads_there(
    page: Any, visit: Callable[[str], None], screenshot: Callable[[str], None]
) -> None:
    visit("/play")
    assert page.locator("tbody tr").count() >= 5
    _good_for_everybody(page)
    screenshot("play")
    page.get_by_role("link", name="reference/digits-cnn: What the network sees").click()
    page.get_by_label("Layer").select_option("network.12")
    page.get_by_role("button", name="Filters").click()
    page.wait_for_selector("#pictures figure:nth-child(2)")
    _until(page, "() => document.querySelector('#pictures canvas').width > 300")
    _good_for_everybody(page)
    screenshot("inside")
