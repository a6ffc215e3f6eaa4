"""Nobody but the person at this machine, or with the token, gets an answer."""

import pytest
from starlette.testclient import TestClient

from fathom.page.app import create_app
from fathom.page.security import host_names, is_loopback

HOST = "http://127.0.0.1:8642"


@pytest.fixture
def client(tmp_path) -> TestClient:
    return TestClient(create_app(tmp_path), HOST)


def test_the_page_answers_with_a_policy_that_names_no_other_host(client):
    answer = client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", ""]
)
def test_another_host_name_is_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", None, "http://["]
)
def test_what_changes_something_needs_the_own_origin(client, origin):
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/", headers=headers).status_code == 403
    assert client.post("/", headers={"Origin": HOST}).status_code == 405


def test_off_this_machine_a_token_is_needed(tmp_path):
    client = TestClient(create_app(tmp_path, token="secret"), HOST, follow_redirects=False)
    assert client.get("/").status_code == 401
    assert client.get("/static/style.css").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    answer = client.get("/?token=secret")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert client.get("/").status_code == 200
    assert client.get("/static/style.css").status_code == 200


def test_loopback_and_other_addresses_are_told_apart():
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "192.168.1.2", "::", "example.org"]))
    assert "evil.example" not in host_names("0.0.0.0")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_path_leads_out_of_the_static_files(client, path):
    assert client.get(path).status_code == 404
