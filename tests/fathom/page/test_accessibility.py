"""axe-core (https://github.com/dequelabs/axe-core) finds no violation in any view, light or dark."""

from pathlib import Path

import pytest

from fathom.page.registry import id_of

AXE = Path("build/node_modules/axe-core/axe.min.js")


@pytest.mark.skipif(
    not AXE.is_file(), reason="axe-core is missing: npm install --prefix build --no-save axe-core"
)
@pytest.mark.parametrize(
    ("colours", "rules"), [("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")]
)
def test_no_view_has_a_violation(page, serve, tmp_path, new_run, colours, rules):
    new_run("a", seed=0)
    new_run("b", seed=1)
    (new_run("torn") / "run.toml").write_text("steps = ")
    address = serve(tmp_path / "runs")
    page.emulate_media(color_scheme=colours)
    a, b, torn = map(id_of, ("a", "b", "torn"))
    for path, sign in (
        ("/", "3 runs"),
        (f"/runs/{a}", "Settings"),
        (f"/runs/{torn}", "cannot be read"),
        (f"/compare?runs={a},{b}", "Settings that differ"),
        ("/start", "Hyperparameters"),
        ("/runs/unknown", "there is no such run"),
    ):
        page.goto(address + path)
        page.get_by_text(sign).first.wait_for()
        page.evaluate(AXE.read_text())
        result = page.evaluate(f"axe.run({rules})")
        found = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in result["violations"]
        ]
        assert found == [], path
