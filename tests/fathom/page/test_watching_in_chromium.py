"""The watching half of the page as a person sees it, in headless Chromium."""

import json
import re
import shutil

import pytest

from fathom.page.registry import id_of

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def address(serve, tmp_path, new_run) -> str:
    new_run("a", seed=0)
    new_run("b", seed=1)
    new_run("half", done=False, agent="dqn")
    new_run("<script>alert(1)", agent="a2c")
    (new_run("torn") / "run.toml").write_text("steps = ")
    return serve(tmp_path / "runs")


def test_the_list_of_runs_is_live(page, address, new_run, tmp_path, screenshot):
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(address)
    page.get_by_text("5 runs", exact=True).wait_for()
    assert page.get_by_role("link", name="<script>alert(1)").is_visible()
    assert "cannot be read" in page.get_by_role("row", name="torn").inner_text()
    screenshot("runs")

    page.get_by_label("Search").fill("dqn paused")
    page.get_by_text("1 of 5 runs").wait_for()
    assert page.locator("#runs tbody tr").count() == 1
    page.get_by_label("Search").fill("")
    page.get_by_label("State").select_option("finished")
    page.get_by_text("3 of 5 runs").wait_for()
    page.get_by_label("State").select_option("")
    page.get_by_role("button", name="Score").click()
    assert page.locator("#runs tbody tr a").first.inner_text() == "b"

    new_run("newcomer")
    page.get_by_role("link", name="newcomer").wait_for()
    with (tmp_path / "runs" / "half" / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"segment": 2, "steps": 30_123, "seconds": 60.0}) + "\n")
    page.get_by_text("30,123").wait_for()
    page.get_by_label("Choose half").check()
    shutil.rmtree(tmp_path / "runs" / "half")
    page.get_by_text("A run that you chose was removed.").wait_for()
    assert page.get_by_role("link", name="half").count() == 0
    assert dialogs == []

    page.get_by_label("Choose a", exact=True).check()
    page.get_by_label("Choose b", exact=True).check()
    page.get_by_role("button", name="Compare the chosen").click()
    page.wait_for_url(f"**/compare?runs={id_of('a')},{id_of('b')}")


def test_a_run_is_followed_until_it_is_removed(page, address, tmp_path, screenshot):
    folder = tmp_path / "runs" / "half"
    page.goto(f"{address}/runs/{id_of('half')}")
    loss = page.get_by_role("img", name="loss:")
    loss.wait_for()
    assert "0.05 at 20,000 steps, between 0.05 and 1" in loss.get_attribute("aria-label")
    assert page.get_by_text("75 %, 0:30").is_visible()  # of learning
    screenshot("run")
    page.get_by_label("Horizontal axis").select_option("episodes")
    assert "at 200 episodes" in loss.get_attribute("aria-label")

    with (folder / "metrics.jsonl").open("a") as log:
        log.write(json.dumps({"segment": 2, "steps": 21_000, "seconds": 42.0, "loss": 3.5}) + "\n")
    page.get_by_role("img", name="loss: 3.5").wait_for()
    page.get_by_text("21,000 of 40,000").wait_for()
    (folder / "run.toml").write_text("steps = ")
    page.locator("#state").get_by_text("cannot be read").wait_for()
    shutil.rmtree(folder)
    page.locator("#state").get_by_text("the run half was removed").wait_for()


def test_a_comparison_is_in_the_address(page, address, screenshot):
    runs = f"{id_of('a')},{id_of('b')}"
    page.goto(f"{address}/compare?runs={runs}&curve=episode_return&axis=seconds")
    chart = page.locator("#chart")
    page.get_by_role("img", name="2 runs, seeds 0, 1").wait_for()
    page.get_by_label("Add a run").fill("<script>alert(1)")
    page.get_by_label("Add a run").press("Enter")
    page.get_by_role("img", name="<script>alert(1): 19 at 40").wait_for()
    page.get_by_label("Seeds of one setting").select_option("apart")
    expect(chart).to_have_attribute("aria-label", re.compile("^a: 19"))
    screenshot("compare")
    assert chart.get_attribute("aria-label").count(";") == 2
    assert page.get_by_role("row", name="seed").inner_text().split() == ["seed", "0", "1", "0"]

    again = page.url
    assert "seeds=apart" in again
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.path().read_text().startswith("curve,seconds,episode_return")
    page.goto(again)
    expect(chart).to_have_attribute("aria-label", re.compile("^a: 19"))
    page.get_by_label("Take a out").click()
    expect(page.locator("#chips li")).to_have_count(2)
    assert id_of("a") not in page.url


@pytest.mark.parametrize("width", [360])
def test_it_fits_a_telephone_in_the_dark(page, address, width, screenshot):
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": width, "height": 740})
    for name, path, sign in (("runs", "/", "5 runs"), ("run", f"/runs/{id_of('a')}", "Settings")):
        page.goto(address + path)
        page.get_by_text(sign, exact=True).wait_for()
        screenshot(f"{name}-dark-telephone")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_a_training_is_started_and_an_episode_recorded_and_watched(
    page, serve, tmp_path, screenshot
):
    (tmp_path / "runs").mkdir()
    page.goto(f"{serve(tmp_path / 'runs')}/start")
    page.get_by_label("steps", exact=True).fill("512")
    assert page.get_by_text("Agent steps, over all environments.").is_visible()
    for name, value in (("name", "mine"), ("evaluation episodes", "2"), ("threads", "1")):
        page.get_by_label(name, exact=True).fill(value)
    screenshot("start")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("train ppo CartPole-v1: mine").wait_for()
    page.get_by_text("done, ").wait_for(timeout=120_000)
    page.get_by_role("link", name="its run").click()
    page.locator("#state").get_by_text("finished").wait_for()
    page.get_by_label("Record an episode of step 512").click()
    video = page.locator("video")
    video.wait_for(timeout=120_000)
    assert page.get_by_text("return 0 after 0 of").is_visible()
    video.evaluate("video => { video.playbackRate = 8; return video.play(); }")
    video.evaluate("video => new Promise((done) => video.addEventListener('ended', done))")
    steps = len(json.loads((tmp_path / "runs/mine/videos/step-512.json").read_text())["rewards"])
    page.get_by_text(f"return {steps} after {steps} of {steps} steps").wait_for()
    screenshot("episode")
