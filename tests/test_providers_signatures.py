"""Standard Webhooks: who signed a callback, and when."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from kling_ledger.callbacks.signatures import SIGNATURE_HEADER, sign, verify
from kling_ledger.errors import ConfigError, SignatureError

# Published at klingai.com/document-api/api/get-started/callbacks, checked 2026-11-20.
SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
MESSAGE_ID = "9876543210"
AT = datetime.fromtimestamp(1781080794, UTC)
BODY = (
    b'{"id":"1234567890","status":"succeeded","message":"",'
    b'"create_time":1781080778802,"update_time":1781080794151}'
)
SIGNATURE = "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="
HEADERS = {
    "webhook-id": MESSAGE_ID,
    "webhook-timestamp": "1781080794",
    "webhook-signature": SIGNATURE,
}
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret").decode()


def changed(**more: str) -> dict[str, str]:
    return {**HEADERS, **{f"webhook-{name}": text for name, text in more.items()}}


def test_signing_gives_the_published_signature():
    assert sign(SECRET, message_id=MESSAGE_ID, at=AT, body=BODY) == HEADERS


def test_the_published_message_is_verified():
    assert verify([SECRET], HEADERS, BODY, now=AT) == MESSAGE_ID


def test_the_case_of_header_names_does_not_matter():
    headers = {name.title(): text for name, text in HEADERS.items()}
    assert verify([SECRET], headers, BODY, now=AT) == MESSAGE_ID


def test_a_secret_may_come_without_its_prefix():
    assert verify([SECRET.removeprefix("whsec_")], HEADERS, BODY, now=AT) == MESSAGE_ID


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_message_five_minutes_away_is_taken(seconds: int):
    assert verify([SECRET], HEADERS, BODY, now=AT + timedelta(seconds=seconds)) == MESSAGE_ID


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_message_further_away_is_refused(seconds: int):
    with pytest.raises(SignatureError, match="more than 300 s"):
        verify([SECRET], HEADERS, BODY, now=AT + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "headers",
    [
        changed(id="9876543211"),
        changed(timestamp="1781080795"),
        changed(signature=SIGNATURE.replace("U", "V")),
        changed(signature=SIGNATURE.replace("v1", "v2")),
        changed(signature=SIGNATURE.removeprefix("v1,")),
        changed(signature="v1,"),
        changed(signature="v1,ü"),
        changed(signature=""),
    ],
)
def test_whatever_is_changed_the_signature_is_wrong(headers: dict[str, str]):
    with pytest.raises(SignatureError, match="no signature matches one of the secrets"):
        verify([SECRET], headers, BODY, now=AT)


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY.replace(b"succeeded", b"failed")])
def test_another_body_is_refused(body: bytes):
    with pytest.raises(SignatureError):
        verify([SECRET], HEADERS, body, now=AT)


@pytest.mark.parametrize("missing", HEADERS)
def test_a_message_without_one_of_the_headers_is_refused(missing: str):
    headers = {name: text for name, text in HEADERS.items() if name != missing}
    with pytest.raises(SignatureError):
        verify([SECRET], headers, BODY, now=AT)


@pytest.mark.parametrize("timestamp", ["", "soon", "-1781080794", "1781080794.5", "9" * 5000])
def test_a_timestamp_that_is_none_is_refused(timestamp: str):
    with pytest.raises(SignatureError, match="cannot be read"):
        verify([SECRET], changed(timestamp=timestamp), BODY, now=AT)


def test_one_right_signature_among_several_is_enough():
    header = f"v2,abc v1,d3Jvbmc= {SIGNATURE}"
    assert verify([SECRET], changed(signature=header), BODY, now=AT) == MESSAGE_ID


@pytest.mark.parametrize("secrets", [[SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET]])
def test_while_secrets_change_both_are_valid(secrets: list[str]):
    for secret in secrets:
        headers = sign(secret, message_id="m", at=AT, body=BODY)
        assert verify(secrets, headers, BODY, now=AT) == "m"


def test_another_secret_verifies_nothing():
    with pytest.raises(SignatureError):
        verify([OTHER_SECRET], HEADERS, BODY, now=AT)


def test_without_secrets_nothing_is_verified():
    with pytest.raises(SignatureError):
        verify([], HEADERS, BODY, now=AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_abc"])
def test_a_secret_that_is_none_is_a_setting_and_is_not_shown(secret: str):
    with pytest.raises(ConfigError) as error:
        verify([secret], HEADERS, BODY, now=AT)
    assert not secret.removeprefix("whsec_") or secret not in f"{error.value}{error.value.hint}"


def test_a_wrong_signature_does_not_show_the_secret_or_the_right_one():
    with pytest.raises(SignatureError) as error:
        verify([SECRET], changed(id="x"), BODY, now=AT)
    assert SECRET not in str(error.value)
    assert SIGNATURE_HEADER not in HEADERS[SIGNATURE_HEADER]
