"""The page as a file: what may run in it, what stands in it, and the libraries that it holds."""

import base64
import hashlib
import re

import pytest

from artnet.analysis.page.html import STATIC, embedded, html
from tests.artnet.analysis.test_report import data_of
from tests.browser import made_up

VENDOR = STATIC / "vendor"


def test_the_libraries_are_those_that_were_checked():
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    files = {file.name: file for file in VENDOR.iterdir() if file.name != "SHA256SUMS"}
    assert set(files) == set(listed)
    assert {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()} == listed


def test_the_policy_allows_what_the_page_holds_and_nothing_else():
    text = html(made_up.grid(models=2, classes=3, epochs=3))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        held = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in held]
        assert rules[rule] == [f"'sha256-{digest}'" for digest in digests]
    assert rules["default-src"] == ["'none'"]
    assert "connect-src" not in rules or rules["connect-src"] == ["'none'"]
    assert not re.search(r"<[^>]+ (style|on\w+)=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("name", made_up.HOSTILE)
def test_no_name_ends_the_data_or_becomes_markup(name):
    data = made_up.grid(models=2, classes=3, epochs=3) | {"name": name}
    text = html(data)
    assert data_of(text)["name"] == name
    assert "alert(1)</script>" not in text


def test_a_number_that_is_not_finite_is_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded({"x": float("nan")})


def test_sections_without_data_are_left_out():
    data = made_up.grid(models=2, classes=3, epochs=3)
    whole, less = (re.findall(r'<section id="(\w+)"', html(one)) for one in (data, data | {"cost": [], "classes": {}}))
    assert [name for name in whole if name not in less] == ["cost", "classes"]
    assert {"answer", "runs", "method"} <= set(re.findall(r'<section id="(\w+)"', html({**EMPTY})))


EMPTY = {"kind": "grid", "name": "empty", "tasks": [], "models": [], "baseline": 0, "runs": []}
