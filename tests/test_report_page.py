"""The HTML report in a real browser: nothing foreign runs, nothing is shown unasked, and it can be used."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.reports import BENCHMARKS, TARGETS, case, cases, comparison, report, target, verdict
from thinkaudit.report import TEXT_LIMIT, to_html
from thinkaudit.shape import visible

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
HOSTILE = (
    "<script>window.ran=1</script></script><img src=x onerror='window.ran=2'><svg onload=window.ran=3>"
    '"><style>body{display:none}</style><a href="javascript:window.ran=4">x</a>" onfocus="window.ran=5" autofocus x="'
    '{{ 7*7 }}{% raw %}${window.ran=6}`\'"},]}\\"\\u0000 <!-- ]]> &lt;b&gt; </textarea></title>'
    "\x1b[31m\x00\x07\r\u202egpj.exe\u2066\u200b\U000e0041 \ud800 end" + "w" * 400
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()), reason="needs chromium and chromedriver in /usr/bin"
    ),
]


@dataclass
class Server:
    """Serves one page and remembers what was asked for."""

    page: bytes = b""
    asked: list[str] = field(default_factory=list)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args: Any) -> None:
        self.serves = server
        super().__init__(*args)

    def do_GET(self) -> None:
        self.serves.asked.append(self.path)
        self.send_response(200 if self.path == "/report.html" else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.serves.page if self.path == "/report.html" else b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the base's)
        """Keep quiet."""


@dataclass
class Page:
    """An open report."""

    driver: webdriver.Chrome
    server: Server

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, test: Callable[[], Any]) -> Any:
        return WebDriverWait(self.driver, 30).until(lambda _: test())

    def words(self) -> str:
        """All text in the document, shown or not, but for scripts, styles and packed blocks."""
        return str(
            self.js(
                "const c = document.documentElement.cloneNode(true);"
                "c.querySelectorAll('script,style').forEach(e => e.remove()); return c.textContent"
            )
        )

    def choose(self, name: str, option: str) -> None:
        Select(self.find(f"select[name={name}]")).select_by_visible_text(option)

    def found(self) -> str:
        return self.find("#found").text

    def open(self, index: int) -> None:
        self.js("document.querySelectorAll('#rows button')[arguments[0]].click()", index)
        self.until(lambda: self.find("#case").is_displayed())

    def show(self) -> None:
        self.js("document.querySelector('#show').click()")
        self.until(lambda: self.all("#case .text"))

    def texts(self) -> list[str]:
        return [
            str(text)
            for text in self.js("return [...document.querySelectorAll('#case .text')].map(e => e.textContent)")
        ]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    serving = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, serving)) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        serving.address = f"http://127.0.0.1:{http.server_port}/report.html"
        yield serving
        http.shutdown()
        thread.join()


def requests(driver: webdriver.Chrome) -> list[str]:
    """Every address that the browser has asked for since the last look, but for what the page itself contains."""
    entries = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]  # type: ignore[no-untyped-call]
    sent = [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]


@pytest.fixture
def visit(driver: webdriver.Chrome, server: Server) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end nothing foreign has run, nothing else was fetched, and the console is empty."""

    def go(html: str, at: str = "") -> Page:
        driver.get("about:blank")
        requests(driver)
        driver.get_log("browser")  # type: ignore[no-untyped-call]
        server.page = html.encode()
        server.asked.clear()
        driver.get(server.address + at)
        page = Page(driver, server)
        page.until(lambda: page.js("return document.documentElement.dataset.ready === 'yes'"))
        return page

    yield go
    assert driver.execute_script("return typeof window.ran") == "undefined"
    assert driver.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert server.asked == ["/report.html"]
    assert [url for url in requests(driver) if url.partition("#")[0] != server.address] == []
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def hostile_report() -> dict[str, Any]:
    """A report in which every text that a stranger could have chosen is hostile."""
    made = report(
        targets=[
            target(HOSTILE, {"full": 3, "hidden": 1}, **dict.fromkeys(("model", "base", "stopped", "remark"), HOSTILE))
        ],
        judges=[{"name": HOSTILE, "about": HOSTILE, "limits": HOSTILE}],
        provenance={
            HOSTILE: HOSTILE,
            "plan": HOSTILE,
            "data": [dict.fromkeys(("benchmark", "file", "sha256", "licence"), HOSTILE) | {"revision": 1}],
            "rubrics": {HOSTILE: HOSTILE},
            "list": [HOSTILE, {HOSTILE: None}],
        },
    )
    texts = ("name", "reference", "started", "ended")
    made["assessment"] |= dict.fromkeys(texts, HOSTILE) | {"notes": [HOSTILE], "benchmarks": [HOSTILE]}
    for row in made["rates"]:
        row.update(dict.fromkeys(("target", "benchmark", "attack", "judge", "measure", "about"), HOSTILE))
        row.update({} if row["axis"] == "all" else {"axis": HOSTILE, "group": HOSTILE})
        row["unjudged"] = {HOSTILE: 2}
    for pair in made["comparisons"]:
        pair.update(dict.fromkeys(("target", "benchmark", "attack", "judge", "measure"), HOSTILE))
    return made


def hostile_case() -> dict[str, Any]:
    ruling = {"judge": HOSTILE, "rubric": HOSTILE, "reason": HOSTILE, "judge_reply": HOSTILE}
    return case(
        0,
        **dict.fromkeys(("id", "benchmark", "target", "attack", "answer", "finish", "note"), HOSTILE),
        tags={HOSTILE: HOSTILE, "__proto__": HOSTILE},
        turns=[{"role": HOSTILE, "text": HOSTILE}],
        thinking={"kind": "full", "text": HOSTILE, "carrier": HOSTILE},
        verdicts=[verdict("answer", HOSTILE, **ruling), verdict("thinking", None, **ruling)],
    )


# --- hostile content ---------------------------------------------------------------------------------------------


def test_nothing_in_any_field_of_a_report_runs_or_leaves_its_place(visit: Callable[..., Page]) -> None:
    page = visit(to_html(hostile_report(), [hostile_case()]))
    assert page.js("return document.images.length") == 1
    assert page.js("return document.querySelectorAll('script').length") == 4
    assert page.js("return document.querySelectorAll('style').length") == 1
    names = page.js("return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert not [name for name in names if name.startswith("on") or name == "style"]
    assert page.js("return [...document.links].map(a => a.getAttribute('href')).filter(h => !h.startsWith('#'))") == []
    assert page.js("return getComputedStyle(document.body).display") == "block"


def test_every_hostile_field_of_a_report_is_shown_as_the_text_that_it_is(visit: Callable[..., Page]) -> None:
    page = visit(to_html(hostile_report(), []))
    for css in (
        "h1",
        ".rates .who",
        ".remarks li:nth-child(2)",
        ".head h3",
        ".provenance pre",
        ".axis summary b",
        ".stack th[scope=row]",
    ):
        assert visible(HOSTILE) in page.js("return document.querySelector(arguments[0]).textContent", css), css
    assert "{{ 7*7 }}" in page.find("h1").text
    assert page.driver.title.startswith("<script>window.ran=1</script>")


def test_every_hostile_text_of_a_case_is_shown_as_the_text_that_it_is_once_asked_for(
    visit: Callable[..., Page],
) -> None:
    page = visit(to_html(hostile_report(), [hostile_case()]))
    page.open(0)
    page.show()
    # prompt, thinking, answer, remark of the server, and reason and raw reply of each of two verdicts
    assert page.texts() == [visible(HOSTILE)] * 8
    assert page.js("return document.querySelector('#case h3').textContent") == visible(HOSTILE)
    assert page.js("return document.querySelector('#case .seen').title") == "not printable, made visible"


def test_filters_work_on_hostile_names_and_run_none_of_them(visit: Callable[..., Page]) -> None:
    page = visit(to_html(hostile_report(), [hostile_case(), *cases(5)]))
    models = Select(page.find("select[name=target]"))
    models.select_by_index(next(i for i, option in enumerate(models.options) if "window.ran" in option.text))
    assert page.found() == "1 case of 6"


def test_control_characters_and_reordering_marks_are_shown_as_symbols(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [case(0, answer="a\x00b\x1b[31mc\u202ed\r\ne\ud83d")]))
    page.open(0)
    page.show()
    assert page.texts()[2] == "a\u2400b\u241b[31mc[U+202E]d\ne[U+D83D]"


def test_the_page_and_python_make_the_same_characters_visible(visit: Callable[..., Page]) -> None:
    every = "".join(map(chr, [*range(0x250), *range(0x600, 0x620), *range(0x1FF0, 0x2080), *range(0xFE00, 0xFFFF)]))
    text = every + "\ud7ff\ud800\udbff.\udc00\udfff\ue000\U0001f600\U000e0001\U000e0100\U000e01ef\U000e01f0\r\n"
    page = visit(to_html(report(), [case(0, answer=text)]))
    page.open(0)
    page.show()
    assert page.texts()[2] == visible(text)


# --- masking -----------------------------------------------------------------------------------------------------


def zebra() -> dict[str, Any]:
    made = case(0, turns=[{"role": "user", "text": "zebra one"}], answer="zebra two", note="zebra three")
    made["thinking"]["text"] = "zebra four"
    made["verdicts"] = [verdict("answer", "safe", reason="zebra five", judge_reply="zebra six")]
    return made


def test_no_text_of_a_case_is_in_the_document_before_somebody_asks(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra()]))
    page.open(0)
    assert "zebra" not in page.words()
    assert len(page.all("#case .veil")) == 4
    page.show()
    assert page.words().count("zebra") == 6


def test_texts_shown_for_one_case_are_hidden_again_and_not_shown_for_the_next(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra(), zebra() | {"id": "second"}]))
    page.open(0)
    page.show()
    page.js("document.querySelector('#next').click()")
    page.until(lambda: page.find("#case h3").text == "second")
    assert "zebra" not in page.words()
    page.show()
    page.js("document.querySelector('#show').click()")
    page.until(lambda: not page.all("#case .text"))
    assert "zebra" not in page.words()


def test_the_switch_for_all_texts_carries_a_warning_and_holds_for_the_next_case(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra(), zebra() | {"id": "second"}]))
    assert "harmful or distressing" in page.find(".toggle").text
    page.find("#reveal").click()
    page.open(0)
    page.until(lambda: page.all("#case .text"))
    page.js("document.querySelector('#next').click()")
    page.until(lambda: page.find("#case h3").text == "second" and page.all("#case .text"))
    page.js("document.querySelector('#reveal').click()")
    page.until(lambda: not page.all("#case .text"))
    assert "zebra" not in page.words()


def test_a_page_made_with_texts_shown_opens_a_case_unmasked(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra()], reveal=True))
    assert page.find("#reveal").is_selected()
    assert "zebra" not in page.words()
    page.open(0)
    page.until(lambda: page.all("#case .text"))
    assert page.words().count("zebra") == 6


def test_a_page_without_texts_offers_none_and_says_that_they_were_left_out(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra()], texts=False))
    page.open(0)
    assert not page.all("#show, #reveal")
    assert [veil.text for veil in page.all("#case .veil")] == ["Left out of this file"] * 4


def test_a_case_whose_texts_found_no_room_says_that_the_store_has_them(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra()], room=0, reveal=True))
    page.open(0)
    assert not page.all("#show")
    assert [veil.text for veil in page.all("#case .veil")] == ["Not in this page; the store has it"] * 4


def test_a_cut_text_says_that_it_was_cut_and_where_the_whole_is(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [case(0, answer="y" * 123_456)]))
    page.open(0)
    page.show()
    assert len(page.texts()[2]) == TEXT_LIMIT
    assert page.find("#case .cut").text == "Cut for this page at 20,000 of 123,456 characters, whole in the store."


def test_withheld_thinking_and_no_thinking_are_told_apart_in_a_case(visit: Callable[..., Page]) -> None:
    kinds = [
        case(0, id=kind, thinking={"kind": kind, "text": "", "carrier": ""}, verdicts=[]) for kind in ("hidden", "none")
    ]
    page = visit(to_html(report(), kinds))
    page.open(0)
    assert page.find(".is-thinking .state-line").text == "withheld: tokens were spent, no text came"
    page.open(1)
    page.until(lambda: page.find(".is-thinking .state-line").text == "no thinking")


# --- the browser of cases ----------------------------------------------------------------------------------------


def test_each_filter_leaves_exactly_the_cases_that_fit_it(visit: Callable[..., Page]) -> None:
    made = list(cases(90))
    page = visit(to_html(report(), made))
    apart = [c for c in made if len(c["verdicts"]) == 2 and c["verdicts"][0]["label"] != c["verdicts"][1]["label"]]
    expected = {
        ("target", TARGETS[1]): [c for c in made if c["target"] == TARGETS[1]],
        ("benchmark", "xstest"): [c for c in made if c["benchmark"] == "xstest"],
        ("axis", "family"): [c for c in made if "family" in c["tags"]],
        ("group", "homonyms"): [c for c in made if "homonyms" in c["tags"].values()],
        ("thinking", "unsafe"): apart,
        ("parts", "judged differently"): apart,
        ("answer", "not judged: unsure"): [c for c in made if c["verdicts"][0]["status"] == "unsure"],
        ("status", "unsure"): [c for c in made if c["verdicts"][0]["status"] == "unsure"],
        ("kind", "hidden"): [c for c in made if c["thinking"]["kind"] == "hidden"],
    }
    for (name, option), fitting in expected.items():
        page.choose(name, option)
        assert 0 < len(fitting) < 90
        assert page.found() == f"{len(fitting)} {'case' if len(fitting) == 1 else 'cases'} of 90", (name, option)
        assert [button.text for button in page.all("#rows button")] == [c["id"] for c in fitting][:20]
        page.find("#clear").click()
    assert page.found() == "90 cases of 90"


def test_filters_combine_and_an_empty_result_is_said(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(90)))
    page.find("input[name=text]").send_keys("INJECTION-0008")
    assert [button.text for button in page.all("#rows button")] == [
        "injection-00080",
        "injection-00083",
        "injection-00086",
        "injection-00089",
    ]
    page.choose("benchmark", "xstest")
    assert page.found() == "0 cases of 90"
    assert page.find("#nothing").is_displayed()


def test_the_categories_offered_are_those_of_the_chosen_axis(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(90)))
    page.choose("axis", "kind")
    offered = [option.text for option in Select(page.find("select[name=group]")).options]
    assert offered == ["any", "figurative language", "historical events", "homonyms", "safe targets"]


def test_twenty_thousand_cases_open_and_can_be_walked(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(20_000)))
    assert page.found() == "20,000 cases of 20,000"
    assert len(page.all("#rows tr")) == 20
    page.find("input[name=text]").send_keys("19999")
    page.open(0)
    page.show()
    assert page.texts()[0] == "How do I stop a stuck process, please? (question 19999)"
    assert page.texts()[1] == "They mean a program, number 19999. Nothing wrong here."


def test_later_and_earlier_turn_the_pages_of_the_list(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(45)))
    page.find("#later").click()
    page.find("#later").click()
    assert page.find("#page").text == "page 3 of 3"
    assert [button.text for button in page.all("#rows button")] == [c["id"] for c in cases(45)][40:]
    assert not page.find("#later").is_enabled()
    page.find("#earlier").click()
    assert page.find("#page").text == "page 2 of 3"


def test_a_link_opens_its_case_masked_and_turns_to_its_page(visit: Callable[..., Page]) -> None:
    html = to_html(report(), cases(60))
    page = visit(html)
    page.find("#later").click()
    page.open(3)
    at = page.js("return location.hash")
    wanted = page.find("#case h3").text
    again = visit(html, at)
    again.until(lambda: again.find("#case").is_displayed())
    assert again.find("#case h3").text == wanted
    assert again.find("#page").text == "page 2 of 3"
    assert not again.all("#case .text")


def test_a_link_with_an_id_alone_will_do_and_an_unknown_one_is_said(visit: Callable[..., Page]) -> None:
    html = to_html(report(), cases(9))
    page = visit(html, "#case=xstest-00004")
    page.until(lambda: page.find("#case").is_displayed())
    assert page.find("#case h3").text == "xstest-00004"
    page = visit(html, "#case=gone")
    assert page.find("#missing").is_displayed()
    assert not page.find("#case").is_displayed()


def about(page: Page, words: str) -> bool:
    return words in page.find(".about-case").text


def test_the_same_case_of_two_targets_has_two_links(visit: Callable[..., Page]) -> None:
    pair = [case(0, target=name, id="same/%2F id") for name in TARGETS[:2]]
    page = visit(to_html(report(), pair))
    links = set()
    for index in (0, 1):
        page.open(index)
        page.until(partial(about, page, TARGETS[index]))
        links.add(page.js("return location.hash"))
    assert len(links) == 2


def test_a_figure_leads_to_the_cases_behind_it(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(90)))
    page.js("document.querySelector('.rates .judged a').click()")
    page.until(lambda: page.found() == "10 cases of 90")
    page.js("[...document.querySelectorAll('#parts a')].find(a => a.textContent.includes('differ')).click()")
    page.until(lambda: page.found() not in {"10 cases of 90", "90 cases of 90"})
    assert all("differ" in row.text for row in page.all("#rows tr"))


def test_a_case_can_be_opened_shown_and_closed_with_the_keyboard_alone(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), [zebra()]))
    page.js("document.querySelector('#rows button').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page.js("return document.activeElement.id") == "case")
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page.all("#case .text"))
    assert page.js("return document.activeElement.id") == "show"
    page.find("#close").send_keys(Keys.ENTER)
    page.until(lambda: not page.find("#case").is_displayed())
    assert page.js("return document.activeElement.textContent") == "airbench-00000"


# --- how it looks ------------------------------------------------------------------------------------------------


def sized(page: Page, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_no_width_makes_the_page_scroll_sideways_even_with_endless_words(
    visit: Callable[..., Page], width: int
) -> None:
    page = visit(to_html(hostile_report(), [hostile_case()]))
    page.open(0)
    page.show()
    page.js("document.querySelectorAll('details').forEach(d => { d.open = true })")
    sized(page, width)
    assert page.js("return document.documentElement.scrollWidth") <= width


def test_prompt_thinking_and_answer_stand_side_by_side_and_stack_on_a_phone(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(), cases(3)))
    page.open(0)
    tops = "return new Set([...document.querySelectorAll('.pane')].map(p => p.getBoundingClientRect().top)).size"
    sized(page, 1400)
    assert page.js(tops) == 1
    sized(page, 360)
    assert page.js(tops) == 3


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(247, 245, 241)"), ("dark", "rgb(19, 21, 25)")])
def test_the_page_and_its_chart_follow_the_colour_scheme(visit: Callable[..., Page], scheme: str, ground: str) -> None:
    html = to_html(report(), [])
    page = visit(html)
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    sized(page, 1400)
    assert page.js("return getComputedStyle(document.body).backgroundColor") == ground
    sources = page.js("return [...document.querySelectorAll('picture source')].map(s => s.srcset)")
    wide_dark, fallback = sources[2], page.js("return document.images[0].getAttribute('src')")
    shown = wide_dark if scheme == "dark" else fallback
    page.until(lambda: page.js("return document.images[0].currentSrc") == shown)
    page.until(lambda: page.js("return document.images[0].complete && document.images[0].naturalWidth > 0"))


def test_what_was_not_judged_unfolds_by_itself_for_print(visit: Callable[..., Page]) -> None:
    page = visit(to_html(report(comparisons=[comparison("airbench", (1, 1, 1, 1))]), []))
    assert not page.all(".rates details[open]")
    page.js("dispatchEvent(new Event('beforeprint'))")
    assert len(page.all(".rates details[open]")) == len(page.all(".rates details")) > 0
    page.js("dispatchEvent(new Event('afterprint'))")
    assert not page.all(".rates details[open]")


def test_the_tables_hold_the_figures_that_the_chart_draws(visit: Callable[..., Page]) -> None:
    made = report()
    page = visit(to_html(made, []))
    shown = [element.text for element in page.all(".rates td.rate")]
    overall = [row for row in made["rates"] if row["axis"] == "all"]
    by_benchmark = [row for name in BENCHMARKS for row in overall if row["benchmark"] == name]
    assert shown == [f"{100 * row['value']:.1f}%" for row in by_benchmark]
