"""Hypothesis strategies for tests of an application: payloads, key rings, handoffs, bad tokens, hostile texts.

Needs Hypothesis and pytest: install ``ghasi-handoff[testing]``. Importing `ghasi_handoff.testing` does not import this.

A strategy says what a test is tried on. Hypothesis picks the examples, and shows the smallest one that fails.
"""

try:
    import hypothesis
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError("the strategies need hypothesis: install ghasi-handoff[testing]", name=exc.name) from exc

from ghasi_handoff.testing.strategies._handoffs import BadToken, bad_tokens, handoffs
from ghasi_handoff.testing.strategies._key_rings import key_rings
from ghasi_handoff.testing.strategies._payloads import payloads
from ghasi_handoff.testing.strategies._texts import hostile_texts

del hypothesis  # imported to say which extra has it

__all__ = ["BadToken", "bad_tokens", "handoffs", "hostile_texts", "key_rings", "payloads"]
