"""Credentials, regions and endpoints where Amazon's own programs have them."""

import json
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from transcribed.engines.amazon.account import Account
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.errors import ConfigurationError, NoCredentials, Unavailable

PATH = "/stream-transcription-websocket"
HERE = AmazonSettings(region="eu-west-1")


@pytest.fixture
def config(bare: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Writes Amazon's configuration file."""

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text)

    return write


@pytest.fixture
def with_keys(bare: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return bare


# --- Region


def test_without_a_region_there_is_none(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="--amazon-region, AWS_REGION"):
        _ = Account(AmazonSettings()).region


def test_the_region_is_the_settings_or_the_environments_or_the_profiles(
    config: Callable[[str], None], bare: pytest.MonkeyPatch
) -> None:
    config("[default]\nregion = eu-west-1\n[profile other]\nregion = eu-west-2\n")
    assert Account(AmazonSettings()).region == "eu-west-1"
    assert Account(AmazonSettings(profile="other")).region == "eu-west-2"
    bare.setenv("AWS_DEFAULT_REGION", "us-west-1")
    assert Account(AmazonSettings()).region == "us-west-1"
    bare.setenv("AWS_REGION", "us-west-2")
    assert Account(AmazonSettings()).region == "us-west-2"
    assert Account(HERE).region == "eu-west-1"


# --- Endpoint


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "transcribestreaming.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "transcribestreaming.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "transcribestreaming.cn-north-1.amazonaws.com.cn"),
        ("eu-north-99", "transcribestreaming.eu-north-99.amazonaws.com"),
    ],
)
def test_the_endpoint_is_that_of_the_region(bare: pytest.MonkeyPatch, region: str, host: str) -> None:
    assert Account(AmazonSettings(region=region)).endpoint == f"https://{host}:8443{PATH}"


def test_what_is_no_region_is_refused(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"'Ireland' is not a region.*eu-west-1"):
        _ = Account(AmazonSettings(region="Ireland")).endpoint


def test_the_endpoint_may_be_anywhere(config: Callable[[str], None], bare: pytest.MonkeyPatch) -> None:
    config(
        "[default]\nendpoint_url = http://of-the-profile:1\n"
        "[profile own]\nservices = mine\n[services mine]\ntranscribe_streaming =\n"
        "  endpoint_url = http://of-the-service:1\n"
        "[profile broken]\nservices = none\n"
        "[profile without]\nservices = mine\nignore_configured_endpoint_urls = true\n"
    )

    def endpoint(**settings: str) -> str:
        return Account(AmazonSettings(region="eu-west-1", **settings)).endpoint

    assert endpoint() == f"http://of-the-profile:1{PATH}"
    assert endpoint(profile="own") == f"http://of-the-service:1{PATH}"
    assert endpoint(profile="without") == f"https://transcribestreaming.eu-west-1.amazonaws.com:8443{PATH}"
    with pytest.raises(ConfigurationError, match="services 'none'"):
        endpoint(profile="broken")
    bare.setenv("AWS_ENDPOINT_URL", "http://of-all:1")
    assert endpoint(profile="own") == f"http://of-all:1{PATH}"
    bare.setenv("AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING", "http://of-one:1")
    assert endpoint() == f"http://of-one:1{PATH}"
    assert endpoint(endpoint_url="http://of-the-setting:1") == f"http://of-the-setting:1{PATH}"


# --- Credentials


def test_without_credentials_a_user_is_told_how_to_give_some(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoCredentials, match=r"AWS_ACCESS_KEY_ID.*aws sso login.*role"):
        Account(HERE).credentials()


def test_half_of_a_key_is_none(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    with pytest.raises(NoCredentials, match="AWS_SECRET_ACCESS_KEY"):
        Account(HERE).credentials()


def test_a_profile_that_there_is_not_is_refused_at_once(bare: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        Account(AmazonSettings(profile="nobody"))


def test_a_file_that_cannot_be_read_is_refused_at_once(config: Callable[[str], None]) -> None:
    config("region = eu-west-1\n")
    with pytest.raises(ConfigurationError, match="config"):
        Account(HERE)


def test_it_is_told_where_credentials_were_found(
    with_keys: pytest.MonkeyPatch, config: Callable[[str], None]
) -> None:
    found = Account(HERE).credentials()
    assert (found.method, found.keys.access_key) == ("env", "AKIDEXAMPLE")
    assert "secret" not in repr(found)
    config("[profile other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = s\n")
    other = Account(AmazonSettings(region="eu-west-1", profile="other")).credentials()
    assert (other.method, other.keys.access_key) == ("config-file", "AKIDOTHER")


@pytest.fixture
def process(config: Callable[[str], None], tmp_path: Path) -> Path:
    """A profile whose credentials a program gives, each time others, and each for a minute only."""
    program, times = tmp_path / "program", tmp_path / "times"
    program.write_text(
        f"#!{sys.executable}\n"
        "import datetime, json, pathlib\n"
        f"times = pathlib.Path({str(times)!r})\n"
        "count = len(times.read_text()) + 1 if times.exists() else 1\n"
        "times.write_text('x' * count)\n"
        "until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKID{count}', 'SecretAccessKey': 's',\n"
        "                  'SessionToken': 't', 'Expiration': until.isoformat()}))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    config(f"[default]\ncredential_process = {program}\n")
    return program


def test_credentials_that_run_out_are_renewed(process: Path) -> None:
    account = Account(HERE)
    addresses = [account.address({}) for _ in range(2)]
    first, second = (address.partition("X-Amz-Credential=AKID")[2][0] for address in addresses)
    assert int(first) < int(second)
    assert all("X-Amz-Security-Token=t" in address for address in addresses)


def test_a_program_that_fails_is_said_to(config: Callable[[str], None]) -> None:
    config(f"[default]\ncredential_process = {sys.executable} -c 'raise SystemExit(\"no such vault\")'\n")
    with pytest.raises(Unavailable, match="no such vault"):
        Account(HERE).credentials()


def test_a_session_that_has_run_out_is_said_to(config: Callable[[str], None], tmp_path: Path) -> None:
    config(
        "[default]\nsso_session = ours\nsso_account_id = 123456789012\nsso_role_name = Reader\n"
        "[sso-session ours]\nsso_region = eu-west-1\nsso_start_url = https://example.com/start\n"
    )
    with pytest.raises(NoCredentials, match=r"ours .*aws sso login"):
        Account(HERE).credentials()


def test_who_gives_credentials_may_come_back(
    config: Callable[[str], None], bare: pytest.MonkeyPatch, free_port: int
) -> None:
    bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{free_port}/none")
    with pytest.raises(Unavailable, match="Could not connect"):
        Account(HERE).credentials()


def test_refused_credentials_are_looked_for_anew(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"

    def write(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    write("AKIDOLD")
    account = Account(HERE)
    assert account.credentials().keys.access_key == "AKIDOLD"
    write("AKIDNEW")
    assert account.credentials().keys.access_key == "AKIDOLD"
    account.refused()
    assert account.credentials().keys.access_key == "AKIDNEW"


# --- The rest


def test_certificates_are_those_of_amazons_variable(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Account(HERE).trust().verify_mode is ssl.CERT_REQUIRED
    bare.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        Account(HERE).trust()


@pytest.mark.parametrize("package", ["botocore", "websockets"])
def test_without_the_extra_it_is_said_what_to_install(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from transcribed.engines.amazon.engine import load\n"
        "from transcribed.engines.amazon.settings import AmazonSettings\n"
        "from transcribed.errors import ConfigurationError\n"
        "import json\n"
        "try:\n"
        "    load(AmazonSettings())\n"
        "except ConfigurationError as error:\n"
        "    print(json.dumps(error.message))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    message = json.loads(done.stdout)
    assert package in message
    assert "pip install 'transcribed[amazon]'" in message


def test_the_regions_are_known(bare: pytest.MonkeyPatch) -> None:
    assert {"us-east-1", "eu-west-1", "ap-northeast-1"} <= set(Account(HERE).regions)
