"""The pages in a real browser: what a buyer and an operator see. Screenshots are kept in artefacts/screenshots."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from filiere.clock import NS_PER_S
from filiere.errors import StoreUnavailable
from filiere.plant import Line
from filiere.readings import Block
from tests.api.site import WITHIN_S, Site
from tests.api.workshop import MESSAGES, MINUTE_NS, RUN_NS, T1, Workshop, rows
from tests.servers import free_port

SCREENSHOTS = Path(__file__).parents[2] / "artefacts" / "screenshots"
PHONE = {"width": 360, "height": 640}
WALL = {"width": 1920, "height": 1080}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {
    "certificate": "/batches/T1-0002/certificate",
    "certificate-flax": "/batches/F1-0001/certificate",
    "refused": "/batches/T1-0003/certificate",
    "unknown": "/batches/T1-9999/certificate",
    "batches": "/batches",
    "home": "/",
    "problems": "/problems",
}

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def site(filled: Workshop) -> Iterator[Site]:
    served = Site(filled, free_port())
    yield served
    served.stop()


def patient(page: Page, address: str) -> Page:
    """Show an address, and wait as long for everything on it as a busy machine may need."""
    page.set_default_timeout(WITHIN_S * 1000)
    page.goto(address)
    return page


def opened(browser: Browser, address: str, size: dict[str, int]) -> Page:
    """A page in a context of its own, which goes when the page is closed."""
    return patient(browser.new_page(viewport=size), address)  # type: ignore[arg-type]  # a TypedDict


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def visit(browser: Browser, site: Site, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Open an address; what the browser complains of, and requests to anybody else, are collected."""
    contexts: list[BrowserContext] = []

    def open_page(path: str, *, size: dict[str, int] = PHONE, dark: bool = False, script: bool = True) -> Page:
        context = browser.new_context(
            viewport=size,
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,  # type: ignore[arg-type]  # a TypedDict
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith((site.url, "data:")) else complaints.append(asked.url)
        )
        return patient(page, site.url + path)

    yield open_page
    for context in contexts:
        context.close()


def keep(page: Page, name: str, *, full: bool = False) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full)


def harmless(complaints: list[str]) -> list[str]:
    """A page that is not found says so in the console too; that is no fault of the page."""
    return [text for text in complaints if "Failed to load resource" not in text]


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("name", list(PAGES))
def test_every_page_fits_phone_and_wall_without_a_complaint(
    visit: Callable[..., Page], complaints: list[str], name: str, language: str
) -> None:
    for size, where in ((PHONE, "phone"), (WALL, "wall")):
        page = visit(f"{PAGES[name]}?lang={language}", size=size)
        keep(page, f"{name}-{language}-{where}", full=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.locator("html").get_attribute("lang") == language
        assert page.locator("h1").count() == 1
    assert harmless(complaints) == []


def test_the_buyer_sees_the_verdict_and_the_content_first(visit: Callable[..., Page], complaints: list[str]) -> None:
    page = visit("/batches/T1-0002/certificate", script=False)
    verdict = page.locator("#verdict")
    assert "Authentique" in verdict.inner_text()
    assert "Authentic" in verdict.inner_text()
    box = verdict.bounding_box()
    assert box is not None
    assert box["y"] < PHONE["height"] / 2
    assert "%" in page.locator(".big").inner_text()
    assert page.locator("svg.chart:visible").count() == 10
    keep(page, "certificate-fr-phone-first-screen")
    assert complaints == []


def test_the_certificate_is_readable_in_the_dark_and_on_paper(visit: Callable[..., Page]) -> None:
    page = visit("/batches/T1-0002/certificate", dark=True)
    keep(page, "certificate-fr-phone-dark", full=True)
    page = visit("/batches/T1-0002/certificate", size=WALL)
    page.emulate_media(media="print")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "certificate-fr-print.png", full_page=True)
    page.pdf(path=SCREENSHOTS / "certificate-fr-print.pdf", format="A4")
    assert (SCREENSHOTS / "certificate-fr-print.pdf").stat().st_size > 10_000


def test_the_first_screen_of_a_phone_holds_verdict_product_and_content(visit: Callable[..., Page]) -> None:
    page = visit("/batches/T1-0002/certificate", script=False)
    for part in ("#verdict", ".facts dd", ".big", ".u95"):
        box = page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"]


def test_text_of_the_curves_can_be_read_on_a_phone(visit: Callable[..., Page]) -> None:
    page = visit("/batches/T1-0002/certificate")
    heights = page.evaluate(
        "[...document.querySelectorAll('svg.chart text')].filter(t => t.checkVisibility())"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.ownerSVGElement.getScreenCTM().a)"
    )
    assert min(heights) >= 11


def test_what_is_folded_on_the_screen_is_on_the_paper(visit: Callable[..., Page]) -> None:
    page = visit("/batches/T1-0002/certificate")
    page.emulate_media(media="print")
    heights = page.evaluate(
        "[...document.querySelectorAll('article details > :not(summary)')].map(e => e.getBoundingClientRect().height)"
    )
    assert heights
    assert min(heights) > 0


def test_text_has_enough_contrast_in_light_and_dark(visit: Callable[..., Page]) -> None:
    for dark in (False, True):
        page = visit("/batches/T1-0002/certificate", dark=dark)
        assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_wall_has_enough_contrast_in_light_and_dark(visit: Callable[..., Page], *, dark: bool) -> None:
    page = visit("/live", size=WALL, dark=dark)
    page.locator(".plot canvas").first.wait_for()
    assert page.evaluate(CONTRAST) == []


def test_a_certificate_that_was_changed_is_red_and_shows_no_claim(
    browser: Browser, copied: Callable[[], Workshop]
) -> None:
    workshop = copied()
    path = workshop.settings.certificates_dir / "T1-0002-r1.json"
    path.write_bytes(path.read_bytes().replace(b'"recycled_content":"0.8', b'"recycled_content":"0.9'))
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/certificates/T1-0002-r1", PHONE)
        assert "NON authentique" in page.locator("#verdict").inner_text()
        assert "signature" in page.locator(".wrong").first.inner_text().lower()
        assert page.locator(".big").count() == 0
        keep(page, "certificate-tampered-fr-phone", full=True)
        page.close()
    finally:
        site.stop()


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_wall_shows_states_values_and_curves_and_follows_them(
    visit: Callable[..., Page], complaints: list[str], language: str
) -> None:
    page = visit(f"/live?lang={language}", size=WALL)
    line = page.locator(f'[data-line="{T1}"]')
    line.locator(".plot canvas").first.wait_for()
    assert "T1-0004" in line.locator('[data-part="batch"]').inner_text()
    assert ("en production" if language == "fr" else "running") in line.locator('[data-part="state"]').inner_text()
    assert page.evaluate("document.documentElement.scrollHeight") <= WALL["height"]
    assert page.evaluate(CUT_TILES) == []
    page.wait_for_function("document.querySelectorAll('.finished a').length > 0")
    keep(page, f"live-{language}-wall")
    phone = visit(f"/live?lang={language}", size=PHONE)
    phone.locator(".plot canvas").first.wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    keep(phone, f"live-{language}-phone", full=True)
    dark = visit(f"/live?lang={language}", size=WALL, dark=True)
    dark.locator(".plot canvas").first.wait_for()
    keep(dark, f"live-{language}-wall-dark")
    assert complaints == []


def test_a_reading_beyond_its_limit_turns_its_tile_within_seconds(
    browser: Browser, copied: Callable[[], Workshop]
) -> None:
    workshop = copied()
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/live", WALL)
        tile = page.locator(f'[data-line="{T1}"] [data-signal="extruder.melt_temp"]')
        page.wait_for_function(TILE_IS, arg="ok")
        run = workshop.ledger.chain().runs["T1-R4"]
        write_melt(workshop, workshop.plant.line(T1), run.start_ns + RUN_NS // 2 + 60 * NS_PER_S, 262.5)
        page.wait_for_function(TILE_IS, arg="high")
        assert "262,5" in tile.inner_text()
        assert "trop haut" in tile.inner_text()
        told = page.locator(f'[data-line="{T1}"] [data-part="troubles"]').inner_text()
        assert "TROP HAUT · Température de la matière : 262,5\u00a0°C" in told
        assert "ramener sous 245\u00a0°C" in told
        assert page.evaluate("document.documentElement.scrollHeight") <= WALL["height"]
        keep(page, "live-fr-wall-too-hot")
        page.close()
    finally:
        site.stop()


def test_a_machine_of_which_nothing_comes_any_more_is_told_once(
    browser: Browser, copied: Callable[[], Workshop]
) -> None:
    workshop = copied()
    line, run = workshop.plant.line(T1), workshop.ledger.chain().runs["T1-R4"]
    step = line.step(run.step)
    begun_ns = run.start_ns + RUN_NS // 2 + MINUTE_NS
    made = rows(line, step, step.recipe(run.recipe), begun_ns, begun_ns + 5 * MINUTE_NS)
    workshop.store.write([row for row in made if row.device != "extruder"])
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/live", WALL)
        page.wait_for_function(TILE_IS, arg="stale")
        told = page.locator(f'[data-line="{T1}"] [data-part="troubles"]').inner_text()
        assert "MUET · Extrudeuse" in told
        assert "vérifier son automate et son réseau" in told
        assert "capteur" not in told
        assert told.count("MUET") == 1
        assert "autre" not in told
        keep(page, "live-fr-wall-silent-machine")
        page.close()
    finally:
        site.stop()


@pytest.mark.parametrize(
    ("later_s", "recorder_age_s", "told"),
    [(60.0, 1.0, "Plus aucune mesure depuis"), (0.0, 60.0, "L’enregistrement des mesures est arrêté")],
)
def test_what_stops_all_lines_is_told_across_the_wall_with_what_to_do(
    browser: Browser, copied: Callable[[], Workshop], later_s: float, recorder_age_s: float, told: str
) -> None:
    filled = copied()
    workshop = Workshop.open(filled.settings.data_dir, now_ns=filled.now_ns + round(later_s * NS_PER_S))
    workshop.record(messages=MESSAGES, bookmark=MESSAGES, age_s=recorder_age_s)
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/live", WALL)
        page.wait_for_selector("main.frozen .plot canvas")
        alerts = page.locator("#alerts").inner_text()
        assert told in alerts
        assert "révenir la maintenance" in alerts
        assert "1 message refusé" in alerts
        assert page.locator(".troubles .fine:visible, .troubles .bad:visible").count() == 0
        assert page.evaluate("document.documentElement.scrollHeight") <= WALL["height"]
        keep(page, f"live-fr-wall-stopped-{later_s:.0f}")
        page.close()
    finally:
        site.stop()
        workshop.close()


@pytest.mark.parametrize("language", ["fr", "en"])
def test_an_intake_that_accepts_nothing_is_told_on_top_with_why(
    browser: Browser, copied: Callable[[], Workshop], language: str
) -> None:
    workshop = copied()
    workshop.intake(problem="messages.sqlite: got database or disk is full (SQLITE_FULL); free space on this disk")
    site = Site(workshop, free_port())
    told = "Plus rien n’est accepté depuis 61 s" if language == "fr" else "Nothing is accepted any more for 61 s"
    try:
        for size, where in ((WALL, "wall"), (PHONE, "phone")):
            page = opened(browser, f"{site.url}/live?lang={language}", size)
            page.wait_for_selector("main.frozen #alerts .alert")
            alerts = page.locator("#alerts").inner_text()
            assert told in alerts
            assert "free space on this disk" in alerts
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            box = page.locator("#alerts .alert").first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= size["height"]
            keep(page, f"live-{language}-{where}-accepts-nothing")
            page.close()
    finally:
        site.stop()


def test_devices_that_get_no_answer_are_a_warning_and_the_values_stay_fresh(
    browser: Browser, copied: Callable[[], Workshop]
) -> None:
    workshop = copied()
    workshop.receipts(problem="the broker refuses the receipts of caux/textile/t1/extruder: Not authorized")
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/live", WALL)
        page.wait_for_selector("#alerts .alert.warning")
        told = page.locator("#alerts").inner_text()
        assert "Les appareils ne reçoivent plus de réponse depuis 61\xa0s" in told
        assert "Not authorized" in told
        assert page.locator("main.frozen").count() == 0
        page.close()
    finally:
        site.stop()


@pytest.mark.parametrize("cause", ["database", "disk"])
def test_what_has_one_cause_is_told_once(
    browser: Browser, copied: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    workshop = copied()

    def down(_self: object, _line: str) -> None:
        raise StoreUnavailable("InfluxDB: no answer")

    if cause == "database":
        monkeypatch.setattr(type(workshop.store), "latest", down)
        workshop.record(messages=MESSAGES, bookmark=MESSAGES, problem="InfluxDB: no answer")
    else:
        workshop.record(messages=MESSAGES, bookmark=MESSAGES, age_s=60.0)
        workshop.intake(problem="got database or disk is full; free space on this disk")
    site = Site(workshop, free_port())
    try:
        page = opened(browser, f"{site.url}/live", WALL)
        page.wait_for_selector("main.frozen #alerts .alert")
        (told,) = page.locator("#alerts .alert:not(.warning)").all_inner_texts()
        assert ("Rien n’est perdu" if cause == "database" else "free space on this disk") in told
        assert "relancer" not in told
        page.close()
    finally:
        site.stop()


def test_the_charts_take_the_room_that_the_wall_leaves(visit: Callable[..., Page]) -> None:
    page = visit("/live", size=WALL)
    page.locator(".plot canvas").first.wait_for()
    page.wait_for_function("document.querySelectorAll('.finished a').length > 0")
    page.wait_for_function(CHARTS_FILL)


def write_melt(workshop: Workshop, line: Line, time_ns: int, value: float) -> None:
    values = {signal.id: value for signal in line.unit("extruder").signals if signal.id == "melt_temp"}
    workshop.store.write([Block.one(line=line.path, device="extruder", time_ns=time_ns, values=values)])


def test_the_live_page_comes_back_by_itself_after_a_restart(browser: Browser, copied: Callable[[], Workshop]) -> None:
    port = free_port()
    workshop = copied()
    site = Site(workshop, port)
    page = opened(browser, f"{site.url}/live", PHONE)
    page.wait_for_function(CONNECTION_SAYS, arg="en direct")
    site.stop()
    page.wait_for_function(CONNECTION_SAYS, arg="perdue")
    assert "Écran coupé du serveur" in page.locator("#alerts").inner_text()
    assert page.locator("main.frozen").count() == 1
    again = Site(Workshop.open(workshop.settings.data_dir), port)
    try:
        page.wait_for_function(CONNECTION_SAYS, arg="en direct")
        page.wait_for_selector("main:not(.frozen)")
        page.close()
    finally:
        again.stop()
        again.workshop.close()


def test_the_description_of_the_api_is_drawn_offline(visit: Callable[..., Page], complaints: list[str]) -> None:
    page = visit("/docs", size=WALL)
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock").count() >= 14
    keep(page, "docs")
    assert complaints == []


def test_a_number_typed_on_the_home_page_leads_to_the_certificate(visit: Callable[..., Page]) -> None:
    page = visit("/", script=False)
    page.fill("#lot", " T1-0002 ")
    page.click("button")
    assert page.url.endswith("/batches/T1-0002/certificate")
    assert "Authentique" in page.locator("#verdict").inner_text()


CHARTS_FILL = """() => [...document.querySelectorAll('.line')].every(line => {
    const drawn = [...line.querySelectorAll('.plot:not([hidden])')];
    const rest = line.getBoundingClientRect().bottom - line.querySelector('.tiles').getBoundingClientRect().bottom;
    return drawn.length > 0 && rest < 40 && drawn.every(plot => {
        const canvas = plot.querySelector('.canvas');
        const height = plot.querySelector('.uplot').offsetHeight;
        return canvas.clientHeight >= 60 && Math.abs(canvas.clientHeight - height) < 3;
    });
})"""
CUT_TILES = """() => [...document.querySelectorAll('.tile')]
    .filter(tile => tile.scrollWidth > tile.clientWidth + 1).map(tile => tile.textContent)"""
TILE_IS = """state => document.querySelector('[data-line="caux/textile/t1"] [data-signal="extruder.melt_temp"]')
    .classList.contains(state)"""
CONNECTION_SAYS = "words => document.getElementById('connection').textContent.includes(words)"
CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const lum = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *:not(svg *)")) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(element);
    if (element.matches(".hidden, .hidden *, .skip") || style.display === "none") continue;
    const [a, b] = [lum(parse(style.color)), lum(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(element.tagName + "." + element.className + " " + ratio.toFixed(2));
  }
  return low;
}"""
