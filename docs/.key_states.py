"""Draw docs/assets/key-states.svg: the states of three keys on the clock, through two rotations.

    python docs/.key_states.py

The states are asked of the library, second by second where they change; nothing is drawn that a ring does not say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ghasi_handoff import KeyRing, KeyState
from ghasi_handoff.rotation import state_changes

TARGET = Path(__file__).parent / "assets" / "key-states.svg"

START = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
END = START + timedelta(minutes=200)
FIRST, SECOND = START + timedelta(minutes=10), START + timedelta(minutes=100)
WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 920, 64, 28, 64, 58, 30
COLORS = {
    KeyState.PENDING: ("#f2c14e", "#1d1d1d"),
    KeyState.ACTIVE: ("#2a7f62", "#ffffff"),
    KeyState.VERIFY_ONLY: ("#8fc1ad", "#1d1d1d"),
    KeyState.RETIRED: ("#c9c9c9", "#1d1d1d"),
}
WORDS = {
    KeyState.PENDING: "pending",
    KeyState.ACTIVE: "active: signs",
    KeyState.VERIFY_ONLY: "verify-only",
    KeyState.RETIRED: "retired",
}


def place(moment: datetime) -> float:
    """Where a moment lies on the clock."""
    share = (moment - START) / (END - START)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def spans(ring: KeyRing, kid: str, born: datetime) -> list[tuple[datetime, datetime, KeyState]]:
    """From when until when a key is in which state, as far as it is in the picture."""
    found = []
    begin = max(START, born)
    state = ring.state(kid, begin)
    for change in state_changes(ring, begin):
        if change.kid == kid and change.at < END:
            found.append((begin, change.at, state))
            begin, state = change.at, change.state
    return [*found, (begin, END, state)]


def drawing() -> str:
    """The picture as SVG."""
    ring = KeyRing.generate("A", now=datetime(2026, 9, 1, tzinfo=UTC)).rotate("B", now=FIRST).rotate("C", now=SECOND)
    born = {"A": START, "B": FIRST, "C": SECOND}
    height = TOP + 3 * ROW + 64
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        "<title>The states of three keys through two rotations</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    marks = [(FIRST, "rotate"), (SECOND, "rotate")]
    for at, text in marks:
        x = place(at)
        lines.append(f'<line x1="{x}" y1="40" x2="{x}" y2="{height - 46}" stroke="#b03a2e" stroke-dasharray="4 3"/>')
        lines.append(f'<text x="{x}" y="32" text-anchor="middle" fill="#b03a2e" font-weight="600">{text}</text>')
        lines.append(f'<text x="{x}" y="16" text-anchor="middle" fill="#b03a2e">{at:%H:%M}</text>')
    for row, (kid, since) in enumerate(born.items()):
        y = TOP + row * ROW
        lines.append(f'<text x="{LEFT - 12}" y="{y + 20}" text-anchor="end" font-weight="600">key {kid}</text>')
        for begin, end, state in spans(ring, kid, since):
            left, right = place(begin), place(end)
            fill, ink = COLORS[state]
            size = f'width="{round(right - left, 1)}" height="{BAR}"'
            lines.append(f'<rect x="{left}" y="{y}" {size} fill="{fill}" stroke="#ffffff"/>')
            words = WORDS[state]
            if right - left > 7.5 * len(words):
                lines.append(f'<text x="{left + 6}" y="{y + 20}" fill="{ink}">{words}</text>')
        # The time of each change, below the bar, where it does not collide with the one before.
        for begin, _, _ in spans(ring, kid, since)[1:]:
            x = place(begin)
            lines.append(f'<text x="{x}" y="{y + BAR + 14}" text-anchor="middle" fill="#444444">{begin:%H:%M}</text>')
    y = height - 34
    lines.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#444444"/>')
    for minutes in range(0, 201, 20):
        x = place(START + timedelta(minutes=minutes))
        moment = START + timedelta(minutes=minutes)
        lines.append(f'<line x1="{x}" y1="{y}" x2="{x}" y2="{y + 5}" stroke="#444444"/>')
        lines.append(f'<text x="{x}" y="{y + 20}" text-anchor="middle" fill="#444444">{moment:%H:%M}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(drawing(), "utf-8")
