"""A module that meddles with its own registry: it is refused, or it runs to what was read."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from ghasi_handoff.sync_contract import UnreadableError, read_registry

from .registries import HARMLESS, SERVICE, entry, names, write
from .typescript import Runner

# {n} is a name that another part of the module has, too; {b} is what is done with it.
FORMS = [
    *("{b}", "{{ {b} }}", "export const f = (() => {{ {b} }});", "for (const {n} of [N]) {{ {b} }}"),
    *(
        "{{ let {n}: any = N; {b} }}",
        "{{ const {{ a: {n} }} = {{ a: N }} as any; {b} }}",
        "{{ const [{n}] = [N]; {b} }}",
    ),
    *("{{ class {n} {{ static at: any = Object.assign; }} {b} }}", "try {{ throw N }} catch ({n}: any) {{ {b} }}"),
    *(
        "try {{ throw {{ a: N }} }} catch ({{ a: {n} }}: any) {{ {b} }}",
        "for (const {{ a: {n} }} of [{{ a: N }}]) {{ {b} }}",
    ),
    *(
        "class Z {{ static {{ let {n}: any = N; {b} }} }}",
        "const o = {{ get x() {{ let {n}: any = N; {b} return 1; }} }}; o.x;",
    ),
    *(
        "[...{{ *[Symbol.iterator]() {{ const {{ ...{n} }} = N; {b} }} }}];",
        "switch (1) {{ case 1: {{ let {n}: any = N; {b} }} }}",
    ),
    "import * as itself from './FILE'; {{ {b} }}",
]
ACTS = [
    *("{n}.at(it, evil);", "{n}?.at(it, evil);", "({n} as any).at(it, evil);", "M.map((e: any) => e).at(it, evil);"),
    *(
        "M.map(() => N)[0].at(it, evil);",
        "M.find(() => N)!.at(it, evil);",
        "it.at(it, evil);",
        "[it.serviceName] = ['x'];",
    ),
    *(
        "for (it.serviceName of ['x']);",
        "delete it.serviceName;",
        "M.forEach((e: any) => {{ e.scope ||= e.serviceName += 'x'; }});",
    ),
    "{{ const itself: any = {{ syncRegistry: [] }}; itself.syncRegistry.push(evil); }}",
    *("itself.syncRegistry.push(evil);", "throw new Error(N.at(it, evil));", "M.some((e: any) => e === it);"),
]


@pytest.mark.parametrize("name", ["syncRegistry", "M", "N", "it"])
def test_what_is_read_of_a_meddling_module_is_what_runs(tmp_path: Path, name: str) -> None:
    """Whatever is done to the array, by whichever name: what the reader accepts is what Node then has."""
    accepted = 0
    before = (
        f"const it: any = {{ ...{HARMLESS}, at: Object.assign }}, M: any = [it], evil = {entry(SERVICE, 'Wishlist')};\n"
        "const N: any = { at: Object.assign, s: 'room-service' };\n"
        "export const syncRegistry: any = [...M, { ...it, serviceName: N.s }];\n"
    )
    with Runner() as runner:
        for number, (form, act) in enumerate(product(FORMS, ACTS)):
            file = f"registry{number}.mts"
            text = before + form.format(n=name, b=act.format(n=name)).replace("FILE", file)
            path = write(tmp_path, text, file)
            try:
                read = names(read_registry(path))
            except UnreadableError:
                continue
            accepted += 1
            assert runner.names(path) in (read, None), text
    assert accepted
