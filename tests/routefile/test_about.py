from pathlib import Path

import pytest

from tests.routefile.files import LEAST, load, read_faults


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (
            "contact: {name: N, url: https://x.org/a, email: a@x.org}",
            {"contact": {"name": "N", "url": "https://x.org/a", "email": "a@x.org"}},
        ),
        ("contact: {email: a@x.org}", {"contact": {"email": "a@x.org"}}),
        ("license: {name: M, identifier: MIT OR BSD}", {"license": {"name": "M", "identifier": "MIT OR BSD"}}),
        ("license: {name: Ours, url: https://x.org}", {"license": {"name": "Ours", "url": "https://x.org"}}),
    ],
)
def test_info_says_who_answers_for_the_api_and_its_licence(file: Path, text: str, more: object) -> None:
    assert load(file, LEAST + f"info: {{{text}}}\n").info.more == more


def test_servers_and_tags_are_those_of_openapi(file: Path) -> None:
    head = (
        "servers: [{url: https://x.org/v1, description: S}, {url: /}]\ntags: [{name: a, description: A}, {name: b}]\n"
    )
    read = load(file, LEAST + head)
    assert read.servers == [{"url": "https://x.org/v1", "description": "S"}, {"url": "/"}]
    assert read.tags == [{"name": "a", "description": "A"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("info: {contact: {emial: x}}", "4:18: info.contact.emial: unknown key, did you mean `email`?"),
        ("info: {contact: {email: x}}", '4:25: info.contact.email: "x": must be an e-mail address such as'),
        ("info: {contact: {url: x}}", '4:23: info.contact.url: "x": must be a URL such as https://example.com/page'),
        ("info: {contact: Bob}", "4:17: info.contact: \"Bob\": must be a mapping"),
        ("info: {license: {identifier: MIT}}", "4:17: info.license.name: is missing"),
        ("info: {license: {name: MIT, spdx: MIT}}", "4:29: info.license.spdx: unknown key; known are name, "),
        ("info: {license: {name: A, identifier: A, url: https://x.y}}", "4:17: info.license: can have an"),
        ("info: {license: {name: A, identifier: A_B}}", '4:39: info.license.identifier: "A_B": must be an SPDX'),
        ("servers: {url: x}", "4:10: servers: must be a list"),
        ("servers: [https://x.org]", '4:11: servers[0]: "https://x.org": must be a mapping'),
        ("servers: [{}]", "4:11: servers[0].url: is missing"),
        ("servers: [{url: x.org}]", '4:17: servers[0].url: "x.org": must be a URL such as https'),
        ("servers: [{url: 'https://{h}.org'}]", '4:17: servers[0].url: "https://{h}.org": must be a URL'),
        ("servers: [{url: /, descripton: x}]", "4:20: servers[0].descripton: unknown key, did you mean `description`?"),
        ("tags: [{nam: x}]", "4:9: tags[0].nam: unknown key, did you mean `name`?"),
        ("tags: [{name: x, text: y}]", "4:18: tags[0].text: unknown key; known are name, description"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_said_of_the_api_is_told_with_its_place(file: Path, text: str, fault: str) -> None:
    assert read_faults(file, LEAST + text + "\n")[0].startswith(fault)
