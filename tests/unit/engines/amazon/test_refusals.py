import pytest

from transcribed import errors
from transcribed.engines.amazon.refusals import refusal, refusal_of_status


@pytest.mark.parametrize(
    ("name", "message", "kind", "advice"),
    [
        ("BadRequestException", "Your stream is too big.", errors.BadRequest, "Your stream is too big."),
        (
            "BadRequestException",
            "Your request timed out because no new audio was received for 15 seconds.",
            errors.UpstreamLost,
            "no new audio",
        ),
        ("BadRequestException", "The signature of a message is wrong", errors.InvalidSignature, "clock"),
        (
            "BadRequestException",
            "The security token included in the request is invalid",
            errors.UnknownClient,
            "access key",
        ),
        ("LimitExceededException", "Too many", errors.LimitExceeded, "Service Quotas"),
        ("ThrottlingException", "Rate exceeded", errors.LimitExceeded, "Service Quotas"),
        ("UnrecognizedClientException", "The key is unknown.", errors.UnknownClient, "access key"),
        (
            "UnrecognizedClientException",
            "The security token included in the request is expired",
            errors.ExpiredCredentials,
            "log in",
        ),
        ("ExpiredTokenException", "", errors.ExpiredCredentials, "it does not say why. Renew"),
        ("InvalidSignatureException", "Signature expired: 1 is before 2", errors.InvalidSignature, "clock"),
        ("AccessDeniedException", "No.", errors.AccessDenied, "StartStreamTranscriptionWebSocket"),
        ("ConflictException", "Twice.", errors.Conflict, "Twice."),
        ("InternalFailureException", "Oh.", errors.Unavailable, "Oh."),
        ("ServiceUnavailableException", "Not now.", errors.Unavailable, "Not now."),
        ("com.amazonaws#ValidationException:http://amazon", "x", errors.BadRequest, "Validation: x."),
        ("SomethingNew", "Boo.", errors.EngineFailure, "SomethingNew: Boo."),
    ],
)
def test_exceptions_are_our_errors_and_say_what_to_do(
    name: str, message: str, kind: type[errors.TranscribedError], advice: str
) -> None:
    error = refusal(name, message)
    assert type(error) is kind
    assert error.message.startswith("Amazon Transcribe answers ")
    assert advice in error.message


def test_a_long_message_is_cut() -> None:
    assert len(refusal("BadRequestException", "blah " * 10_000).message) < 400


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "text"),
    [
        (
            403,
            {"x-amzn-errortype": "UnrecognizedClientException:"},
            b'{"message":"No such key."}',
            errors.UnknownClient,
            "No such key.",
        ),
        (403, {}, b'{"Message":"No."}', errors.AccessDenied, "No."),
        (429, {}, b"", errors.LimitExceeded, "HTTP 429"),
        (400, {}, b"[1]", errors.BadRequest, "HTTP 400"),
        (503, {}, b"<html>", errors.Unavailable, "503"),
        (500, {}, b'{"Message":5}', errors.Unavailable, "500"),
        (404, {}, b"", errors.EngineFailure, "endpoint"),
        (200, {}, b"hello", errors.EngineFailure, "endpoint"),
    ],
)
def test_http_answers_are_our_errors(
    status: int, headers: dict[str, str], body: bytes, kind: type[errors.TranscribedError], text: str
) -> None:
    error = refusal_of_status(status, headers, body)
    assert type(error) is kind
    assert text in error.message
