"""What the pages say, in English, German and Arabic. An application may add languages or say it otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page's heading and its text.

    Attributes:
        title: A few words; also the title of the window.
        text: One or two sentences.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTexts:
    """Everything that the pages say in one language. Plain text: it is escaped where it is used.

    Attributes:
        direction: ``ltr``, or ``rtl`` for Arabic, Hebrew and others.
        proceed: The landing page.
        proceed_button: Its button.
        confirming: bff-consumer has not confirmed yet; the page tries again by itself.
        not_confirmed: It has not confirmed for 20 seconds.
        unavailable: The store gives no sure answer, or no key can sign.
        try_again: The button of these.
        invalid: The token is none, or not for this site.
        expired: Too late.
        replayed: Another browser has it.
        revoked: It was cancelled.
        cookies: The browser keeps no cookies.
        forbidden: The form is not from our own page, the page stands in a frame, or a cookie is forged.
        unknown_site: There is no such hotel here.
        start_again: The link to the site where the guest began.
        reference: What stands before the reference.
    """

    direction: Literal["ltr", "rtl"] = "ltr"
    proceed: Message
    proceed_button: str
    confirming: Message
    not_confirmed: Message
    unavailable: Message
    try_again: str
    invalid: Message
    expired: Message
    replayed: Message
    revoked: Message
    cookies: Message
    forbidden: Message
    unknown_site: Message
    start_again: str
    reference: str


ENGLISH: Final = PageTexts(
    proceed=Message(
        title="Your booking is ready",
        text="Your choice has arrived at the hotel's own site. Please continue to your booking.",
    ),
    proceed_button="Continue to your booking",
    confirming=Message(
        title="Confirming your booking",
        text="This takes a little longer than usual. Please wait a moment, or try again.",
    ),
    not_confirmed=Message(
        title="This is taking too long",
        text="Your booking could not be confirmed. It is still held for this browser. Please try again, or start again"
        " from the site that sent you here.",
    ),
    unavailable=Message(title="Not available right now", text="Please try again in a minute."),
    try_again="Try again",
    invalid=Message(title="This link is not valid", text="Please start again from the site that sent you here."),
    expired=Message(title="This link has expired", text="Please start again from the site that sent you here."),
    replayed=Message(
        title="This link was already used",
        text="It was used in another browser. Please start again from the site that sent you here.",
    ),
    revoked=Message(title="This link was cancelled", text="Please start again from the site that sent you here."),
    cookies=Message(
        title="Cookies are needed",
        text="This site must keep one cookie, so that your booking opens in your browser only. Please allow cookies for"
        " this site, and open the link once more.",
    ),
    forbidden=Message(
        title="This page cannot be opened like this",
        text="Please open it in a window of its own, or start again from the site that sent you here.",
    ),
    unknown_site=Message(title="There is no such site here", text="Please check the address."),
    start_again="Start again",
    reference="Reference",
)
GERMAN: Final = PageTexts(
    proceed=Message(
        title="Ihre Buchung ist bereit",
        text="Ihre Auswahl ist auf der Seite des Hotels angekommen. Bitte fahren Sie mit Ihrer Buchung fort.",
    ),
    proceed_button="Weiter zu Ihrer Buchung",
    confirming=Message(
        title="Ihre Buchung wird bestätigt",
        text="Das dauert etwas länger als sonst. Bitte warten Sie einen Moment, oder versuchen Sie es noch einmal.",
    ),
    not_confirmed=Message(
        title="Das dauert zu lange",
        text="Ihre Buchung konnte nicht bestätigt werden. Sie ist weiterhin für diesen Browser reserviert. Bitte"
        " versuchen Sie es noch einmal, oder beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    unavailable=Message(
        title="Zurzeit nicht verfügbar",
        text="Bitte versuchen Sie es in einer Minute noch einmal.",
    ),
    try_again="Noch einmal versuchen",
    invalid=Message(
        title="Dieser Link ist ungültig",
        text="Bitte beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    expired=Message(
        title="Dieser Link ist abgelaufen",
        text="Bitte beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    replayed=Message(
        title="Dieser Link wurde schon benutzt",
        text="Er wurde in einem anderen Browser benutzt. Bitte beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    revoked=Message(
        title="Dieser Link wurde zurückgezogen",
        text="Bitte beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    cookies=Message(
        title="Cookies sind nötig",
        text="Diese Seite muss ein Cookie speichern, damit sich Ihre Buchung nur in Ihrem Browser öffnet. Bitte"
        " erlauben Sie Cookies für diese Seite, und öffnen Sie den Link noch einmal.",
    ),
    forbidden=Message(
        title="So lässt sich diese Seite nicht öffnen",
        text="Bitte öffnen Sie sie in einem eigenen Fenster, oder beginnen Sie neu auf der Seite, von der Sie kommen.",
    ),
    unknown_site=Message(title="Diese Seite gibt es hier nicht", text="Bitte prüfen Sie die Adresse."),
    start_again="Neu beginnen",
    reference="Kennung",
)
ARABIC: Final = PageTexts(
    direction="rtl",
    proceed=Message(title="حجزك جاهز", text="وصل اختيارك إلى موقع الفندق. يُرجى المتابعة إلى حجزك."),
    proceed_button="المتابعة إلى حجزك",
    confirming=Message(
        title="جارٍ تأكيد حجزك", text="يستغرق هذا وقتًا أطول قليلًا من المعتاد. يُرجى الانتظار لحظة، أو المحاولة مرة أخرى."
    ),
    not_confirmed=Message(
        title="يستغرق الأمر وقتًا طويلًا",
        text="تعذّر تأكيد حجزك، وما زال محفوظًا لهذا المتصفح."
        " يُرجى المحاولة مرة أخرى، أو البدء من جديد من الموقع الذي أتيت منه.",
    ),
    unavailable=Message(title="الخدمة غير متاحة الآن", text="يُرجى المحاولة مرة أخرى بعد دقيقة."),
    try_again="حاول مرة أخرى",
    invalid=Message(title="هذا الرابط غير صالح", text="يُرجى البدء من جديد من الموقع الذي أتيت منه."),
    expired=Message(
        title="انتهت صلاحية هذا الرابط",
        text="يُرجى البدء من جديد من الموقع الذي أتيت منه.",
    ),
    replayed=Message(
        title="استُخدم هذا الرابط من قبل",
        text="استُخدم في متصفح آخر. يُرجى البدء من جديد من الموقع الذي أتيت منه.",
    ),
    revoked=Message(title="أُلغي هذا الرابط", text="يُرجى البدء من جديد من الموقع الذي أتيت منه."),
    cookies=Message(
        title="ملفات تعريف الارتباط مطلوبة",
        text="يحتاج هذا الموقع إلى حفظ ملف تعريف ارتباط واحد، لكي يُفتح حجزك في متصفحك وحده."
        " يُرجى السماح بملفات تعريف الارتباط لهذا الموقع، ثم فتح الرابط مرة أخرى.",
    ),
    forbidden=Message(
        title="لا يمكن فتح هذه الصفحة بهذه الطريقة",
        text="يُرجى فتحها في نافذة مستقلة، أو البدء من جديد من الموقع الذي أتيت منه.",
    ),
    unknown_site=Message(title="لا يوجد موقع كهذا هنا", text="يُرجى التحقق من العنوان."),
    start_again="البدء من جديد",
    reference="الرقم المرجعي",
)

TEXTS: Final[Mapping[str, PageTexts]] = {"en": ENGLISH, "de": GERMAN, "ar": ARABIC}


def choose_language(wanted: list[str], texts: Mapping[str, PageTexts]) -> str:
    """The first of `wanted` (tags in lower case, the best liked first) that is there, else the first that is there.

    ``de-AT`` finds ``de``, too: RFC 4647, section 3.4.
    """
    known = {name.lower(): name for name in texts}
    for tag in wanted:
        parts = tag.split("-")
        for length in range(len(parts), 0, -1):
            name = known.get("-".join(parts[:length]))
            if name is not None:
                return name
    return next(iter(texts))
