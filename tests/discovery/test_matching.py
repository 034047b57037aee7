import time

import pytest

from app.discovery import matching
from app.discovery.matching import Leads, find_routes
from app.discovery.services import MAX_SUBJECTS, Service
from app.formats.subjects import SubjectTemplate
from app.pieces import run_at_once


def serve(*subjects: str, name: str = "s") -> Service:
    return Service(name, "1.0.0", 1, 0, 0, None, subjects)


def match(services: list[Service], *templates: str) -> Leads:
    """The routes are named as their subjects."""
    return run_at_once(find_routes(services, [(text, SubjectTemplate.parse(text)) for text in templates]))


@pytest.mark.parametrize(
    ("template", "answering", "others"),
    [
        ("a", ["a", "*", ">"], ["b", "a.b", "a.*", "a.>", "", "a."]),
        ("a.b", ["a.b", "a.*", "*.b", "*.*", "a.>", ">", "*.>"], ["a", "*", "a.c", "a.b.>", "a.*.*", "b.*"]),
        ("a.{x}", ["a.*", "a.>", "a.7", "*.*", ">"], ["a", "b.*", "a.7.b", "a.*.*", "a.*.>"]),
        ("a.{x}.get", ["a.*.get", "a.7.get", "a.>", "a.*.>", "*.*.*", "a.*.*"], ["a.*.put", "a.get", "a.*"]),
        ("a.{x...}", ["a.>", "a.*", "a.b", "a.b.c.d", "a.*.>", "a.b.>", ">", "*.>"], ["a", "*", "b.>", "b.c"]),
        ("a.{x}.{y...}", ["a.>", "a.b.c", "a.*.*.*", "a.b.>", "*.*.>"], ["a.b", "a.*", "b.>"]),
    ],
)
def test_a_subject_answers_a_route_if_some_request_of_it_goes_there(
    template: str, answering: list[str], others: list[str]
) -> None:
    for subject in answering:
        assert match([serve(subject)], template, "z.z").routes[0][:1] == (template,), subject
    for subject in others:
        assert template not in match([serve(subject)], template).routes[0], subject


def test_each_service_has_the_routes_of_all_of_its_subjects_once() -> None:
    services = [serve("o.*.get", "o.>"), serve(), serve("p.new", "o.*.put", "p.>.x", "..", "*.*.>")]
    found = match(services, "p.new", "o.{id}.get", "o.{id}.put", "q")
    assert found == Leads((("o.{id}.get", "o.{id}.put"), (), ("o.{id}.get", "o.{id}.put", "p.new")), cut=False)


def test_two_routes_of_one_subject_are_both_named() -> None:
    template = SubjectTemplate.parse("o.{id}")
    found = run_at_once(find_routes([serve("o.*")], [("b", template), ("a", template)]))
    assert found.routes == (("a", "b"),)


def test_many_services_and_routes_take_few_looks() -> None:
    routes = [(f"r{number}", SubjectTemplate.parse(f"s{number}.{{id}}.get.{{x}}")) for number in range(1000)]
    services = [serve(*(f"s{number}.*.{verb}.*" for verb in ("get", *"abcdefghi"))) for number in range(1000)]
    steps = find_routes(services, routes)
    count = 0
    try:
        while True:
            next(steps)
            count += 1
    except StopIteration as end:
        found = end.value
    assert found == Leads(tuple((f"r{number}",) for number in range(1000)), cut=False)
    assert count < matching.MAX_LOOKS / 10


@pytest.mark.soak
def test_subjects_that_match_all_routes_end_at_a_bound() -> None:
    texts = [f"s{number}.a.b.{{x}}" for number in range(1000)]
    services = [serve(*(f"*.*.*.{number}" for number in range(MAX_SUBJECTS))) for _ in range(100)]
    started = time.monotonic()
    found = match(services, *texts)
    assert found.cut
    assert len(found.routes) == len(services)
    assert len(found.routes[0]) == 1000
    assert time.monotonic() - started < 20
