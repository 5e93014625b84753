"""The pages themselves: languages, escaping, and HTML that is complete without script, style or another host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import Any, get_args

import pytest
from typing_extensions import override

from ghasi_handoff.landing import TEXTS, GuestRequest, Message, Page, PageTexts
from ghasi_handoff.landing._pages import Kind, html_of, make_page
from ghasi_handoff.landing._texts import choose_language

from .both_services import ARRIVES, ORIGIN, START_URL, BothServices, Browser

KINDS: tuple[Kind, ...] = get_args(Kind)
WITH_FORM = ("proceed", "confirming", "not_confirmed", "unavailable")
VOID = {"meta", "input", "br", "link", "img", "hr"}
NASTY = """<script>alert("1")</script>&amp;'"""


class Document(HTMLParser):
    """A strict reading: each element is closed where it was opened, no attribute comes twice."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.declarations: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    @override
    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), tag
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def one(self, tag: str) -> dict[str, str | None]:
        (attributes,) = self.all(tag)
        return attributes

    def text(self, tag: str) -> str:
        return "".join(data for name, data in self.texts if name == tag)


def page_of(kind: Kind, language: str = "en", texts: Mapping[str, PageTexts] = TEXTS, **options: Any) -> Page:
    """A page as the landing router makes it."""
    form = {"handoff": "ghasi1.k.b.m"} if kind in WITH_FORM else None
    reference = None if kind == "proceed" else "ABCDEFGH"
    options = {"fields": form, "reference": reference, "start_url": START_URL, **options}
    return make_page(kind, 200, [language], texts, **options)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("kind", KINDS)
class TestEachPage:
    def test_it_is_a_sound_document(self, kind: Kind, language: str) -> None:
        """Doctype, language and direction, title, viewport, one main with one h1, and nothing left open."""
        document = Document(html_of(page_of(kind, language)))
        assert document.declarations == ["doctype html"]
        assert document.one("html") == {"lang": language, "dir": "rtl" if language == "ar" else "ltr"}
        message: Message = getattr(TEXTS[language], kind)
        assert document.text("title") == document.text("h1") == message.title
        assert message.text in document.text("p")
        assert len(document.all("main")) == len(document.all("h1")) == 1
        metas = document.all("meta")
        assert metas[0] == {"charset": "utf-8"}
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
        assert {"name": "robots", "content": "noindex"} in metas

    def test_it_needs_nothing_else(self, kind: Kind, language: str) -> None:
        """No other host, no source, no inline handler or style; each script and style has the nonce."""
        page = page_of(kind, language)
        html = html_of(page)
        document = Document(html)
        for tag, attributes in document.elements:
            assert not any(name.startswith("on") or name in ("style", "src", "srcset") for name in attributes), tag
            if tag in ("script", "style"):
                assert attributes == {"nonce": page.nonce}
        assert re.findall(r"(?:https?:)?//[a-z0-9]", html) == (
            [] if kind in ("proceed", "confirming") else ["https://r"]
        )
        assert "url(" not in html and "@import" not in html

    def test_it_is_complete_without_javascript(self, kind: Kind, language: str) -> None:
        """A form with a labelled button, or a way to start again; and the reference, to be read out."""
        document = Document(html_of(page_of(kind, language)))
        texts = TEXTS[language]
        if kind in WITH_FORM:
            assert document.one("form") | {"id": "handoff"} == {"id": "handoff", "method": "post", "action": "handoff"}
            assert document.one("button") == {"type": "submit"}
            assert document.text("button") == (texts.proceed_button if kind == "proceed" else texts.try_again)
            assert document.all("input") == [{"type": "hidden", "name": "handoff", "value": "ghasi1.k.b.m"}]
        else:
            assert document.all("form") == document.all("input") == []
        if kind not in ("proceed", "confirming"):
            assert document.one("a")["href"] == START_URL
            assert document.text("a") == texts.start_again
        assert document.text("bdi") == ("" if kind == "proceed" else "ABCDEFGH")


class TestTexts:
    @pytest.mark.parametrize("language", TEXTS)
    def test_nothing_is_left_out(self, language: str) -> None:
        """Every language has every text, and none is another language's."""
        for each in fields(PageTexts):
            value = getattr(TEXTS[language], each.name)
            parts = (value.title, value.text) if isinstance(value, Message) else (value,)
            for part in parts:
                assert part.strip() == part != ""
            assert language == "en" or each.name == "direction" or value != getattr(TEXTS["en"], each.name)

    def test_everything_is_escaped(self) -> None:
        """Texts, address and fields with markup in them stay text."""
        changes: dict[str, Any] = {}
        for each in fields(PageTexts):
            value = getattr(TEXTS["en"], each.name)
            changes[each.name] = Message(title=NASTY, text=NASTY) if isinstance(value, Message) else NASTY
        for kind in KINDS:
            html = html_of(
                page_of(
                    kind, NASTY, {NASTY: PageTexts(**changes)}, fields={NASTY: NASTY}, start_url=f"https://x/{NASTY}"
                )
            )
            document = Document(html)
            assert len(document.all("script")) == 1 and "alert(" not in document.text("script")
            assert document.text("h1") == document.text("title") == document.text("button") == NASTY
            assert document.one("input") == {"type": "hidden", "name": NASTY, "value": NASTY}
            assert document.one("html") == {"lang": NASTY, "dir": NASTY}

    def test_a_page_does_not_show_its_token(self) -> None:
        """Repr leaves the content out."""
        assert "ghasi1" not in repr(page_of("proceed"))


def preferred_languages(header: str) -> list[str]:
    return GuestRequest(method="GET", path="/handoff", query="", headers=[("Accept-Language", header)]).languages


class TestLanguage:
    @pytest.mark.parametrize(
        ("wanted", "language"),
        [
            ([], "en"),
            (["de"], "de"),
            (["DE-at"], "de"),
            (["ar-EG, en;q=0.5"], "ar"),
            (["en;q=0.5, de;q=0.9, ar;q=0.8"], "de"),
            (["en;q=0.5, de; q=0.9"], "de"),
            (["en;q=0.5,de ;Q=0.9"], "de"),
            (["fr, de;q=0.1"], "de"),
            (["fr"], "en"),
            (["fr", "de;q=0.2"], "de"),
            (["de;q=0"], "en"),
            (["de;q=0.0, fr"], "en"),
            (["de;q=0, ar"], "ar"),
            (["de;q=0.000, ar;q=0.001"], "ar"),
            (["de;q=2, ar"], "ar"),
            (["de;q=-1, ar"], "ar"),
            (["de;q=nan, ar"], "ar"),
            (["de;q=1e0, ar;q=0.1"], "ar"),
            (["de;q=, ar;q=0.1"], "ar"),
            (["*"], "en"),
            (["*;q=0.5, de;q=0.1"], "de"),
            ([",,;;q=,=,"], "en"),
            (["\xff\x00<script>"], "en"),
            (["fr," * 500 + "de"], "en"),
            (["den, arx"], "en"),
            (["de_AT"], "en"),
        ],
    )
    def test_the_guest_gets_the_best_liked_language(
        self, services: BothServices, guest: Browser, wanted: list[str], language: str
    ) -> None:
        """By Accept-Language with its weights; garbage, or nothing that is there, is the first language."""
        headers = (*ARRIVES, *(("Accept-Language", value) for value in wanted))
        for answer in (guest.get(services.issue().token, headers), guest.get("x", headers)):
            assert answer.field("content-language") == language
            document = Document(answer.text)
            assert document.one("html") == {"lang": language, "dir": TEXTS[language].direction}

    def test_the_longest_tag_wins(self) -> None:
        """de-AT finds de-AT before de; a tag is found in any case."""
        texts = {"en": TEXTS["en"], "de": TEXTS["de"], "de-AT": TEXTS["de"]}
        assert choose_language(["de-at-1996"], texts) == "de-AT"
        assert choose_language(["de-ch"], texts) == "de"

    def test_a_language_with_weight_zero_is_not_wanted(self) -> None:
        """A weight of zero means "not acceptable" (RFC 9110, 12.4.2): the language is left out, in each spelling of zero."""
        assert preferred_languages("a;q=0, b;q=0.000, c ; q=0., d;q=0.001") == ["d"]

    def test_equal_weights_keep_their_order(self) -> None:
        """The first of two equals is the better liked."""
        assert preferred_languages("b;q=0.5, a;q=0.5, c") == ["c", "b", "a"]


class TestHost:
    def test_its_own_texts(self, services: BothServices) -> None:
        """The application's texts are used; its first language is the fallback."""
        own = {"fr": replace(TEXTS["en"], proceed=Message(title="Bienvenue", text="Continuez."))}
        browser = Browser(services, app=services.make_app(texts=own))
        answer = browser.get(services.issue().token, (*ARRIVES, ("Accept-Language", "de")))
        assert answer.field("content-language") == "fr"
        assert Document(answer.text).text("h1") == "Bienvenue"

    def test_its_own_template(self, services: BothServices) -> None:
        """`render` gets the request and the page, and gives the whole HTML; headers and form stay."""
        pages: list[Page] = []

        def render(request: GuestRequest, page: Page) -> str:
            assert request.native is services
            pages.append(page)
            return f"<html><head>{page.head}</head><body><nav>é</nav>{page.content}</body></html>"

        browser = Browser(services, app=services.make_app(render=render))
        token = services.issue().token
        answer = browser.get(token)
        assert (answer.status, "<nav>é</nav>" in answer.text, token in answer.text) == (200, True, True)
        assert f"'nonce-{pages[0].nonce}'" in answer.field("content-security-policy")
        refusal = browser.get("x")
        assert (refusal.status, pages[1].kind, pages[1].reference) == (400, "invalid", refusal.reference)

    def test_the_nonce_is_new_each_time(self, services: BothServices, guest: Browser) -> None:
        """Each answer has its own, the same in policy and page."""
        token = services.issue().token
        nonces = set()
        for _ in range(3):
            answer = guest.get(token)
            (nonce,) = set(re.findall(r'nonce="([^"]+)"', answer.text))
            assert set(re.findall(r"'nonce-([^']+)'", answer.field("content-security-policy"))) == {nonce}
            nonces.add(nonce)
        assert len(nonces) == 3

    def test_without_a_way_back(self, services: BothServices) -> None:
        """An application without start_url has pages without the link."""
        browser = Browser(services, app=services.make_app(start_url=None))
        assert Document(browser.get("x").text).all("a") == []

    def test_the_origin_is_not_repeated(self, services: BothServices, guest: Browser) -> None:
        """No page names a host: it works behind any."""
        assert ORIGIN not in guest.get(services.issue().token).text
