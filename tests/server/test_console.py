"""The console in a real browser: everything that can be asked of it, by keyboard too, and nothing from elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
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


def refused(page: Page) -> str:
    """What the service refuses about the form as it is."""
    page.press("Enter", control=True)
    page.until("document.querySelector('#problem').textContent")
    return page.text("#problem")


def paste(page: Page, text: str) -> list[float]:
    """The pose after `text` was pasted into one of its fields."""
    page.js(
        f"{{const data = new DataTransfer(); data.setData('text', {json.dumps(text)});"
        "document.querySelector('#pose-x').dispatchEvent(new ClipboardEvent('paste', "
        "{clipboardData: data, bubbles: true, cancelable: true}))}"
    )
    return [float(each) for each in page.js("[...document.querySelectorAll('#pose input')].map((each) => each.value)")]


def choose_sample(page: Page, index: int) -> None:
    page.until("document.querySelector('#sample').options.length > 3")
    page.js(f"{{const s = document.querySelector('#sample'); s.value = {index}; s.dispatchEvent(new Event('change'))}}")


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


def test_no_number_is_sent_as_another(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    assert console.js("document.querySelector('#seed').placeholder") == "0"  # what the service takes for none
    console.js("document.querySelector('#samples').closest('details').open = true")
    for name, typed, right in (
        ("samples", "10,000", ""),
        ("deadline_ms", "1,500", ""),
        ("seed", "9007199254740993", "3"),
    ):
        write(console, name, typed)
        assert f"{name}: " in refused(console)
        write(console, name, right)
    write(console, "pose-x", "0,45")
    write(console, "pose-y", "−1e−2")
    assert '"pose":[0.45,-0.01,' in console.text("#code")
    console.js("document.querySelector('[value=python]').click()")
    console.js("document.querySelector('#pose-z').select()")
    console.js("document.execCommand('delete')")
    assert "pose = [0.45, -0.01, None, " in console.text("#code")


def test_seven_numbers_are_pasted_at_once(console: Page) -> None:
    assert paste(console, "[0.5, -0.1, .2, 1e-1, 0, 0, 1]") == [0.5, -0.1, 0.2, 0.1, 0, 0, 1]
    assert paste(console, "array([0.4, 0., 0.3, -0.1, 0., 0., 0.], dtype=float32)") == [0.4, 0, 0.3, -0.1, 0, 0, 0]
    assert paste(console, "tensor([1., 0., 0., 0., 0., 0., 0.], device='cuda:0')") == [1, 0, 0, 0, 0, 0, 0]


def test_a_pose_of_the_table_can_be_pasted(console: Page, here_and_there: tuple[Path, Path]) -> None:
    here_and_there[1].write_bytes(pictures.of(moved(0.03, -0.04, 0.0)))
    fill(console, *here_and_there)
    plan(console)
    row = console.js(
        "[...document.querySelectorAll('.chunk tbody tr:last-child td')].slice(-7).map((td) => td.innerText)"
    )
    pasted = paste(console, "\t".join(row))
    assert pasted[:3] == pytest.approx(moved(0.03, -0.04, 0.0)[:3], abs=0.01)


def test_a_picture_is_dropped(console: Page) -> None:
    console.js(
        "{const data = new DataTransfer(); data.items.add(new File(['x'], 'it.png', {type: 'image/png'}));"
        "document.querySelector('#goal-drop').dispatchEvent(new DragEvent('drop', "
        "{dataTransfer: data, bubbles: true, cancelable: true}))}"
    )
    assert 'goal=@"it.png"' in console.text("#code")


def test_what_is_shown_is_what_is_sent_whatever_becomes_of_the_file(
    console: Page, here_and_there: tuple[Path, Path]
) -> None:
    shown = "document.querySelector('#observation-drop img').src"
    now, _ = here_and_there
    fill(console, *here_and_there)
    console.until(shown)
    before = console.js(shown)
    now.write_bytes(pictures.of(moved(0.02, 0.0, 0.0)) + b" ")
    plan(console)
    assert console.js(shown) == before
    console.choose_files("#observation", [now])
    console.until(f"{shown} && {shown} !== {json.dumps(before)}")
    plan(console)
    now.unlink()
    plan(console)


def test_a_file_that_cannot_be_read_is_told(console: Page, tmp_path: Path) -> None:
    console.choose_files("#observation", [tmp_path / "gone.png"])
    console.until("document.querySelector('#problem').textContent.includes('gone.png cannot be read')")


def test_samples_fill_the_form(console: Page) -> None:
    choose_sample(console, 2)
    console.until("document.querySelector('#status').textContent.startsWith('The sample')")
    console.until("[...document.querySelectorAll('.pictures img')].every((each) => each.naturalWidth === 256)")
    assert console.js("document.querySelectorAll('#goal-drop img').length") == 4
    assert console.js("document.querySelector('#sub-goal').options.length") == 4


def test_samples_are_never_mixed(console: Page) -> None:
    console.js(
        "{const now = fetch; window.fetch = async (path, ...more) => {"
        "if (path.includes('reach-goal')) await new Promise((done) => setTimeout(done, 300));"
        "return path.includes('pick-and-place-goal-3') ? new Response('gone', {status: 404}) : now(path, ...more)}}"
    )
    choose_sample(console, 0)
    choose_sample(console, 1)
    console.until("document.querySelector('#status').textContent.startsWith('The sample')")
    time.sleep(0.4)
    assert 'observation=@"grasp-now.jpg"' in console.text("#code")
    assert 'goal=@"grasp-goal-1.jpg"' in console.text("#code")
    choose_sample(console, 2)
    console.until("document.querySelector('#problem').textContent.includes('gone')")
    assert 'observation=@"grasp-now.jpg"' in console.text("#code")


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


def test_a_button_that_is_held_down_is_clicked(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    console.js("document.querySelector('#open-session').click()")
    console.until("document.querySelector('[data-session]') && !document.querySelector('.busy')")
    close = "document.querySelector('[data-session] button:last-child')"
    console.js(f"{close}.scrollIntoView({{block: 'center'}})")
    box = console.js(f"{close}.getBoundingClientRect().toJSON()")
    mouse = {"x": box["x"] + 5, "y": box["y"] + 5, "button": "left", "clickCount": 1}
    console.send("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    time.sleep(2.2)  # the page has looked for sessions again
    console.send("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    console.until("document.querySelectorAll('[data-session]').length === 0")


def test_rates_are_counted_over_more_than_a_moment(console: Page, here_and_there: tuple[Path, Path]) -> None:
    fill(console, *here_and_there)
    rates = []
    for _ in range(4):
        plan(console)
        console.until("!document.querySelector('.busy')")
        time.sleep(0.1)  # the page looks again after each plan
        rates.append(float(console.text("#load > :last-child dd").split()[0]))
    assert max(rates) <= 2.7  # 4 in 1.5 s, as the page rounds it


def test_the_plan_button_stays_in_sight_in_a_low_window(console: Page, here_and_there: tuple[Path, Path]) -> None:
    console.send("Emulation.setDeviceMetricsOverride", width=1280, height=640, deviceScaleFactor=1, mobile=False)
    try:
        fill(console, *here_and_there)
        plan(console)
        for where in ("0", "300", "document.body.scrollHeight"):
            bottom = console.js(
                f"scrollTo(0, {where}), new Promise(requestAnimationFrame).then("
                "() => document.querySelector('#plan').getBoundingClientRect().bottom)"
            )
            assert 0 < bottom <= 640
        console.js("scrollTo(0, 0); document.querySelector('#access summary').focus()")
        assert console.js(
            "new Promise(requestAnimationFrame).then(() => document.activeElement.getBoundingClientRect().bottom"
            " <= document.querySelector('.actions').getBoundingClientRect().top)"
        )
    finally:
        console.send("Emulation.clearDeviceMetricsOverride")


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
    assert 'observation=@"now.png"' in words
    assert 'goal=@"wanted.png"' in words
    request = json.loads(words.split("request=")[1].split("' \\")[0])
    assert request == {"observation": {"pose": list(HOME)}, "options": {"seed": 3}}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_line_can_be_pasted_whatever_files_are_called(
    console: Page, here_and_there: tuple[Path, Path], tmp_path: Path
) -> None:
    named = [path.rename(tmp_path / f'{path.stem} it\'s;a,b"c".png') for path in here_and_there]
    fill(console, named[0], named[1])
    line = console.js("document.querySelector('#code').textContent").replace("curl ", "curl --noproxy '*' --silent ", 1)
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert "actions" in json.loads(done.stdout), done


def test_the_map_marks_the_first_move_of_a_plan_of_the_same_request_alone(
    page: Page, here_and_there: tuple[Path, Path]
) -> None:
    def map_and_read() -> str:
        page.js("document.querySelector('#energy-map').replaceChildren(); document.querySelector('#map').click()")
        page.until("document.querySelector('#energy-map svg') && !document.querySelector('.busy')")
        return page.text("#energy-map")

    world, mark = SlowWorld(), "the plan's first move"
    with running(served(world)) as (_, where):
        page.open(f"{where.url}/console")
        fill(page, *here_and_there)
        plan(page)
        assert mark in map_and_read()
        world.gate.clear()
        world.scoring.clear()
        page.js("document.querySelector('#plan').click()")
        assert world.scoring.wait(10)
        page.choose_files("#goal", here_and_there[:1])
        world.gate.set()
        page.until("document.querySelector('#status').textContent.startsWith('A plan')")
        assert mark not in map_and_read()
        page.js("document.querySelector('#open-session').click()")
        page.until("document.querySelector('[data-session]') && !document.querySelector('.busy')")
        page.js("document.querySelector('[data-session] button').click()")
        page.until("!document.querySelector('.busy')")
        assert mark not in map_and_read()


def test_a_service_that_hangs_is_told(page: Page, point: Listening) -> None:
    page.open(f"{point.url}/console")
    page.until("document.querySelector('#ready').textContent === 'ready'")
    page.js(
        "{const after = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = () => after(100);"
        "window.fetch = (_, {signal}) => new Promise((_, end) => {"
        "signal?.addEventListener('abort', () => end(signal.reason))})}"
    )
    page.until("document.querySelector('#ready').textContent === 'no answer'")
    assert "has not answered" in page.text("#model")


def test_a_token_is_asked_for(page: Page, here_and_there: tuple[Path, Path]) -> None:
    with running(token=TOKEN) as (_, where):
        page.open(f"{where.url}/console")
        page.until("document.querySelector('#access').open")
        assert "A token is needed" in page.text("header")
        for wrong, complaint in (("one-that-is-wrong", "not one that this service knows"), ("one…more", "holds “…”")):
            write(page, "token", wrong)
            page.press("Tab")
            page.until(f"document.querySelector('#problem').textContent.includes('{complaint}')")
            page.until(f"document.querySelector('#model').textContent.includes('{complaint}')")
        fill(page, *here_and_there)
        write(page, "token", TOKEN)
        page.press("Enter", control=True)  # from within the field
        page.until("document.querySelector('#status').textContent.startsWith('A plan')")
        page.until("document.querySelector('#model').textContent.startsWith('point')")
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
