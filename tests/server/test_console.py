"""The console in a real browser: everything that can be asked of it, by keyboard too, and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.model import Served
from server.run import Listening
from tests.planner.failures import ON_GAIN, file_of
from tests.planner.worlds import HOME, moved
from tests.server import pictures
from tests.server.browser import Page, browsing
from tests.server.running import SlowWorld, running, served
from vjepa2_ac.errors import CheckpointError

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def console(page: Page, point: Listening) -> Iterator[Page]:
    """The console of a service over the point world; nothing may be complained about, or come from elsewhere."""
    page.open(f"{point.url}/console")
    page.until(
        "document.querySelector('#ready').textContent === 'ready' && document.querySelector('#preset').options.length"
    )
    yield page
    page.js("0")
    refused = [each for each in page.complaints if "status of 4" not in each]  # the browser notes every refusal
    assert not refused
    assert all(url.startswith((f"{point.url}/", "data:")) for url in page.requests), page.requests


@pytest.fixture
def here_and_there(tmp_path: Path) -> tuple[Path, Path]:
    """Pictures of the hand at home and 4 cm further, 2 cm higher."""
    now, wanted = tmp_path / "now.png", tmp_path / "wanted.png"
    now.write_bytes(pictures.of(HOME))
    wanted.write_bytes(pictures.of(moved(0.04, 0.0, 0.02)))
    return now, wanted


def fill(page: Page, now: Path, *wanted: Path) -> None:
    page.choose_files("#observation", [now])
    page.choose_files("#goal", wanted)
    for part, value in zip(("x", "y", "z", "roll", "pitch", "yaw", "gripper"), HOME, strict=True):
        write(page, f"pose-{part}", str(value))
    write(page, "seed", "3")


def write(page: Page, name: str, text: str) -> None:
    page.js(f"document.getElementById('{name}').focus(); document.getElementById('{name}').select()")
    page.type(text)


def plan(page: Page) -> None:
    page.js("document.querySelector('#plan').click()")
    page.until("document.querySelector('#status').textContent.startsWith('A plan')")


def test_a_plan_is_shown_whole(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    plan(console)
    titles = console.js("[...document.querySelectorAll('#answer h2')].map((each) => each.textContent)")
    assert [title for title in titles if "warning" not in title] == [
        "Plan", "From above", "From the side", "Gripper", "Chunk", "Cost per iteration", "Confidence",
        "Where the time went",
    ]  # fmt: skip
    rows = console.js("[...document.querySelectorAll('.chunk tbody tr')].map((row) => row.innerText)")
    last = [float(text.replace("−", "-")) for text in rows[-1].split("\t")[-7:]]
    assert last[:3] == pytest.approx(moved(0.04, 0.0, 0.02)[:3], abs=0.01)
    assert console.js("document.querySelectorAll('#answer svg').length") == 4
    assert console.js("document.querySelectorAll('#answer svg circle.target').length") == 2 * len(rows)


def test_the_chance_of_failure_stands_with_the_signs_of_confidence(
    page: Page, here_and_there: tuple[Path, Path], tmp_path: Path
) -> None:
    signs = "[...document.querySelectorAll('.confidence dt')].map((each) => each.textContent)"
    for confidence in (None, file_of(tmp_path, ON_GAIN)):
        with running(model="random:point", confidence=confidence) as (_, where):
            page.open(f"{where.url}/console")
            fill(page, *here_and_there)
            plan(page)
            assert ("Failure" in page.js(signs)) == (confidence is not None)
    chance = page.js("document.querySelector('.confidence > :last-child b').textContent")
    assert 0 < int(chance.removesuffix(" %")) < 30


def test_a_plan_is_made_by_keyboard_alone(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    console.js("document.querySelector('.skip').focus()")
    seen = []
    for _ in range(40):
        console.press("Tab")
        seen.append(console.js("document.activeElement.id"))
        if seen[-1] == "plan":
            break
    assert {"sample", "observation", "goal", "pose-x", "preset", "seed", "plan"} <= set(seen)
    console.press("Enter")
    console.until("document.querySelector('#status').textContent.startsWith('A plan')")
    console.js(
        "document.querySelector('#answer').replaceChildren(); document.querySelector('#status').textContent = ''"
    )
    console.press("Enter", control=True)
    console.until("document.querySelector('#status').textContent.startsWith('A plan')")


def test_energies_are_mapped(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    console.js("document.querySelector('#plane').value = 'xz'; document.querySelector('#map').click()")
    console.until("document.querySelector('#energy-map svg')")
    assert console.js("document.querySelectorAll('#energy-map svg rect title').length") == 11**2
    assert "Lowest at Δx 4.5 cm, Δz 1.5 cm:" in console.text("#energy-map")  # the nearest of moves 1.5 cm apart


def test_a_refusal_is_shown_where_it_belongs(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    write(console, "pose-roll", "180")
    console.js("document.querySelector('#plan').click()")
    console.until("document.querySelector('#problem').textContent")
    assert "are these degrees?" in console.text("#problem")
    assert "invalid_field" in console.text("#problem")
    assert console.js("document.querySelector('#pose').classList.contains('blamed')")
    assert console.js("document.activeElement.closest('fieldset').id") == "pose"
    write(console, "pose-roll", "0")
    plan(console)
    assert not console.text("#problem")
    assert not console.js("document.querySelector('.blamed')")


def test_what_is_no_number_or_no_picture_is_told(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    console.js("document.querySelector('#samples').closest('details').open = true")
    write(console, "samples", "many")
    console.press("Enter", control=True)
    console.until("document.querySelector('#problem').textContent.includes('options.samples')")
    assert console.js("document.activeElement.id") == "samples"


def test_seven_numbers_are_pasted_at_once(console: Page) -> None:
    console.js(
        "{const data = new DataTransfer(); data.setData('text', '[0.5, -0.1, .2, 1e-1, 0, 0, 1]');"
        "document.querySelector('#pose-x').dispatchEvent(new ClipboardEvent('paste', "
        "{clipboardData: data, bubbles: true, cancelable: true}))}"
    )
    values = console.js("[...document.querySelectorAll('#pose input')].map((each) => Number(each.value))")
    assert values == [0.5, -0.1, 0.2, 0.1, 0, 0, 1]


def test_a_picture_is_dropped(console: Page) -> None:
    console.js(
        "{const data = new DataTransfer(); data.items.add(new File(['x'], 'it.png', {type: 'image/png'}));"
        "document.querySelector('#goal-drop').dispatchEvent(new DragEvent('drop', "
        "{dataTransfer: data, bubbles: true, cancelable: true}))}"
    )
    assert "goal=@it.png" in console.text("#code")


def test_samples_fill_the_form(console: Page) -> None:
    console.until("document.querySelector('#sample').options.length > 3")
    console.js("{const s = document.querySelector('#sample'); s.value = '2'; s.dispatchEvent(new Event('change'))}")
    console.until("document.querySelector('#status').textContent.startsWith('The sample')")
    console.until("[...document.querySelectorAll('.pictures img')].every((each) => each.naturalWidth === 256)")
    assert console.js("document.querySelectorAll('#goal-drop img').length") == 3
    assert console.js("document.querySelector('#sub-goal').options.length") == 3


def test_sessions_are_opened_stepped_and_closed(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    console.js("document.querySelector('#open-session').click()")
    console.until("document.querySelectorAll('[data-session]').length === 1")
    assert "going" in console.text("#sessions")
    console.js("document.querySelector('[data-session] button').click()")
    console.until("document.querySelector('#status').textContent.startsWith('A plan')")
    console.until("document.querySelector('[data-session]').cells[3].textContent === '1'")
    console.js("document.querySelector('[data-session] button:last-child').click()")
    console.until("document.querySelectorAll('[data-session]').length === 0")


def test_a_narrow_window_scrolls_downwards_alone(console: Page, here_and_there: tuple[Path, Path]) -> None:
    console.send("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    try:
        fill(console, *here_and_there)
        plan(console)
        assert console.js("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        console.send("Emulation.clearDeviceMetricsOverride")


def test_the_python_it_shows_gives_the_plan_it_shows(
    console: Page,
    here_and_there: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(console, *here_and_there)
    plan(console)
    console.js("document.querySelector('[value=python]').click()")
    monkeypatch.chdir(here_and_there[0].parent)
    exec(console.js("document.querySelector('#code').textContent"), {})
    shown = console.js(
        "[...document.querySelectorAll('.chunk tbody tr')].map((row) => row.innerText.split('\\t').slice(-7))"
    )
    printed = [float(number) for number in capsys.readouterr().out.replace("[", " ").replace("]", " ").split()]
    assert [round(number, 2) for number in printed[:3]] == [round(float(t.replace("−", "-")), 2) for t in shown[0][:3]]


def test_the_curl_line_names_what_is_in_the_form(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    words = console.text("#code")
    assert words.startswith("curl http://127.0.0.1:")
    assert "observation=@now.png" in words
    assert "goal=@wanted.png" in words
    request = json.loads(words.split("request=")[1].split("' \\")[0])
    assert request == {"observation": {"pose": list(HOME)}, "options": {"seed": 3}}


def test_a_token_is_asked_for(page: Page, here_and_there: tuple[Path, Path]) -> None:
    with running(token=TOKEN) as (_, where):
        page.open(f"{where.url}/console")
        page.until("document.querySelector('#access').open")
        assert "A token is needed" in page.text("header")
        write(page, "token", TOKEN)
        page.press("Tab")
        page.until("document.querySelector('#model').textContent.startsWith('point')")
        fill(page, *here_and_there)
        plan(page)
        assert TOKEN not in page.js("document.querySelector('#code').textContent + location.href")


def test_a_search_is_cancelled_by_escape(page: Page, here_and_there: tuple[Path, Path]) -> None:
    world = SlowWorld()
    with running(served(world)) as (_, where):
        page.open(f"{where.url}/console")
        page.until("document.querySelector('#preset').options.length")
        fill(page, *here_and_there)
        world.gate.clear()
        world.scoring.clear()
        page.press("Enter", control=True)
        assert world.scoring.wait(10)
        page.press("Escape")
        page.until("document.querySelector('#status').textContent === 'Cancelled.'")
        world.gate.set()


def test_a_model_that_cannot_be_loaded_is_told_with_its_reason(page: Page) -> None:
    def fail() -> Served:
        raise CheckpointError("the file is cut off")

    with running(fail) as (_, where):
        page.open(f"{where.url}/console")
        page.until("document.querySelector('#ready').textContent === 'not ready'")
        assert "the file is cut off" in page.text("#model")


def test_nothing_may_be_loaded_from_elsewhere(point: Listening) -> None:
    answer = httpx.get(f"{point.url}/console", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
