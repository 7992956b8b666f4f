"""The report in a headless browser: no error on its console, hence no request, as its policy forbids all."""

import os
import shutil
import subprocess

import pytest

BROWSER = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--dump-dom",
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome to open the report with")

#: Asks for the width of the page in a frame 400 pixels wide and writes it where --dump-dom shows it.
FRAME = """<!doctype html><iframe id="f" src="{page}" style="border:0;width:400px;height:900px"></iframe>
<script>onload = () => {{ const d = document.getElementById("f").contentDocument.documentElement;
document.title = `width ${{d.scrollWidth}}`; }};</script>"""


def open_page(page, tmp_path, *flags):
    """The page's elements after loading, and what the browser wrote on its console."""
    command = [BROWSER, *FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def page(reported):
    return reported / "report.html"


def test_no_console_error_and_no_request(page, tmp_path):
    elements, console = open_page(page, tmp_path)
    assert console == []
    assert elements.count("<img") == 18
    assert elements.count("<svg") == 3


def test_a_request_would_be_refused_and_seen(page, tmp_path):
    """The control of the test above: one remote image, and the console is no longer empty."""
    changed = tmp_path / "changed.html"
    changed.write_text(page.read_text().replace("<main>", '<main><img src="http://127.0.0.1:9/x.png">', 1))
    _, console = open_page(changed, tmp_path)
    assert any("Content Security Policy" in line for line in console)


def test_nothing_sticks_out_on_a_narrow_screen(page, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri()))
    elements, _ = open_page(frame, tmp_path, "--allow-file-access-from-files")
    assert "<title>width 400</title>" in elements
