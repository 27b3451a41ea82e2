"""Addresses that a provider's servers can reach, and the many ways to write one they cannot."""

from __future__ import annotations

import pytest

from kling_pricing.gateways.addresses import web_address

HTTPS = web_address("https", most=40)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/x",
        "https://example.com./x",
        "https://example.com:8443/x",
        "https://93.184.216.34/x",
        "https://[2606:4700::1111]/x",
        "https://local.example.com/x",
        "https://localhost.example.com/x",
    ],
)
def test_a_public_host_is_reachable(address: str):
    assert HTTPS.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://localhost/",
        "https://localhost./",
        "https://LOCALHOST./",
        "https://a.localhost/",
        "https://printer.local/",
        "https://printer.local./",
        "https://db.internal/",
        "https://./",
    ],
)
def test_a_name_of_this_machine_or_network_is_not(address: str):
    assert not HTTPS.allows(address)


@pytest.mark.parametrize(
    "number", ["１０.0.0.1", "10。0。0。1", "①⓪.0.0.1", "1️0.0.0.1", "¹²⁷.0.0.1"]
)
def test_a_private_address_in_other_digits_and_dots_is_none(number: str):
    # This is what whoever looks it up makes of it.
    assert not HTTPS.allows(f"https://{number}/")


@pytest.mark.parametrize(
    "name", ["ｌｏｃａｌｈｏｓｔ", "db。internal", "printer．local", "ⓛocalhost。"]
)
def test_a_local_name_in_other_letters_and_dots_is_none(name: str):
    assert not HTTPS.allows(f"https://{name}/")


@pytest.mark.parametrize(
    "host", ["٥.0.0.1", "example.1", "example.0x7f", "a" * 64 + ".com", "a..com"]
)
def test_a_host_that_nobody_can_look_up_is_not_reachable(host: str):
    assert not web_address("https").allows(f"https://{host}/")


@pytest.mark.parametrize(
    "host", ["bücher.example", "例え.example", "９３.184.216.34", "xn--bcher-kva.de"]
)
def test_a_public_host_in_other_letters_is_reachable(host: str):
    assert HTTPS.allows(f"https://{host}/x")


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.1.1/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
    ],
)
def test_a_number_that_is_not_global_is_not(address: str):
    assert not HTTPS.allows(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0x7f.1"])
def test_a_number_in_a_form_of_its_own_is_not(host: str):
    assert not HTTPS.allows(f"https://{host}/")


@pytest.mark.parametrize(
    "address", ["https://example.com:x/", "https://a b.com/", "https://a\n.com"]
)
def test_what_is_no_address_is_not(address: str):
    assert not HTTPS.allows(address)


def test_an_address_is_as_long_as_it_may_be_and_no_longer():
    longest = "https://example.com/".ljust(40, "x")
    assert HTTPS.allows(longest)
    assert not HTTPS.allows(longest + "x")


def test_only_the_schemes_that_are_named_are_taken():
    assert web_address("https", "http").allows("http://example.com/")
    assert not HTTPS.allows("http://example.com/")
